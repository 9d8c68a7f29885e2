/**
 * Registers of a Calgary or CalIOC2 chip: byte offsets in its 1 MiB block (BBAR), and bit masks in the 32-bit word where a bit lies.
 * Everything is big-endian: of a 64-bit register the upper half is at +0, the lower at +4, and software on x86 swaps each access.
 * Source: Linux 2.6.32 arch/x86/kernel/pci-calgary_64.c, which is all that is public; facts C.1.
 */

/** Bytes of a chip's register block. */
export const REGISTER_BYTES = 0x10_0000

/** Offsets in the block. 64-bit registers by their upper half. */
export const Register = {
  /** RW, 64 bits: chip configuration, CCR; see {@link Configuration}. */
  configuration: 0x0108,
  /** RW, 64 bits: table address of each bridge, TAR0…TAR3. */
  table: [0x0580, 0x0588, 0x0590, 0x0598],
  /** RO, 64 bits: split queue of each bridge; see {@link SPLIT_QUEUE_EMPTY}. */
  splitQueue: [0x4870, 0x5870, 0x6870, 0x7870],
  /** First byte of the registers of each bridge: see {@link BridgeRegister}. */
  bridge: [0x8000, 0x9000, 0xa000, 0xb000],
  /** First byte of the debug registers of each bridge: see {@link DebugRegister}. */
  debug: [0x4000, 0x5000, 0x6000, 0x7000],
} as const

/** Offsets in the registers of a bridge; 32 bits each. */
export const BridgeRegister = {
  /** CSR, channel status: see {@link ChannelStatus}. Writing 0 clears it. */
  channelStatus: 0x110,
  /** PLSSR, RO: reading it sees to it that earlier writes have arrived. */
  localStatus: 0x120,
  /** CONFIG_RW: see {@link BridgeConfig}. */
  config: 0x160,
  /** I/O base, lower and upper half. */
  ioBaseLow: 0x170,
  ioBaseHigh: 0x180,
  /** MEM1, the first peripheral memory window: base, and last address (its “size”). */
  memory1BaseLow: 0x190,
  memory1BaseHigh: 0x1a0,
  ioSize: 0x1b0,
  memory1Limit: 0x1c0,
  memoryStatus: 0x1d0,
  /** AER: which requesters may win the bus. 0 stops arbitration. */
  arbitration: 0x200,
  config0High: 0x220,
  config0Low: 0x230,
  config0End: 0x240,
  /** MEM2, the second window, with {@link BridgeConfig.memory2Enable}: base, and last address (its “size”). */
  memory2BaseLow: 0x2b0,
  memory2BaseHigh: 0x2c0,
  memory2LimitHigh: 0x2d0,
  memory2LimitLow: 0x2e0,
  /** Hole of legacy addresses. */
  dosHole: 0x8e0,
} as const

/** Registers that CalIOC2 has beside those. */
export const CalIoc2Register = {
  /** CSMR, MCK, and seven error registers 0x10 apart; RO. */
  channelMask: 0x290,
  machineCheck: 0x800,
  firstError: 0x810,
  lastError: 0x870,
  /** Root complex status, RO. */
  rootComplexStatus: 0xcb0,
  /** PMDR, page migration debug, RO: see {@link Migration}. */
  migrationDebug: 0xda0,
  /** PMCR, page migration control: see {@link Migration}. */
  migrationControl: 0xda8,
  /** “Savior” L2; its makers recommend to set {@link SAVIOR_RECOMMENDED}. */
  savior: 0xdb0,
} as const

/** Offsets in the debug registers of a bridge. */
export const DebugRegister = {
  /** RW, “stuff”: see {@link BusRange}. */
  busRange: 0x20,
} as const

/** Debug “stuff”: the buses behind a bridge. A last bus of 0 says that there is only the first. */
export const BusRange = { firstShift: 16, lastShift: 8, busMask: 0xff } as const

/** CONFIG_RW. */
export const BridgeConfig = {
  /** Requests are translated by the table. */
  tableEnable: 0x2000_0000,
  /** All of them set: the bridge isolates its bus. */
  slotDisable: 0x1c00_0000,
  /** No 64-bit addresses (dual address cycles) from the bus. */
  dualAddressDisable: 0x0100_0000,
  /** MEM2 is a window. */
  memory2Enable: 0x0040_0000,
  /** Errors are recorded in CSR. */
  statusEnable: 0x0010_0000,
} as const

/** CSR. */
export const ChannelStatus = {
  /** Any of these: an error is recorded. Without one the agent means nothing. */
  errorMask: 0xffe0_ffff | 0,
  /** 20:16 id of the agent. */
  agentShift: 16,
  agentMask: 0x1f,
} as const

/** PMCR and PMDR. */
export const Migration = {
  /** PMCR: stop taking requests. */
  softStop: 0x8000_0000 | 0,
  /** PMDR: that did not work, it is to be asked for again. */
  softStopFault: 0x4000_0000,
  /** PMCR: stopped for good, until 0 is written. Reading PMCR in soft stop brings it about. */
  hardStop: 0x2000_0000,
} as const

export const SAVIOR_RECOMMENDED = 0x0080_0000

/** CCR: time-out of split completions, four bits per bridge, at these bits of the 64. */
export const Configuration = {
  timerShifts: [44, 40, 36, 28],
  timerMask: 0xf,
  /** 2 s. */
  timer2s: 0xe,
} as const

/** Split queue: lowest byte, as the CPU reads it, while no request is under way. */
export const SPLIT_QUEUE_EMPTY = 0xff
/** Reads of the split queue, and restarts after {@link Migration.softStopFault}, that software tries. */
export const TRIES = 100
