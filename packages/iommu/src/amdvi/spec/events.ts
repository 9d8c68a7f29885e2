/**
 * What can go wrong, and how the event log tells it: 16 bytes as words 0…3 (low to high). Word 0: 15:0 requester; word 1: 15:0
 * domain, 27:16 flags, 31:28 code; words 2, 3: address. Source: AMD 48882 “Event Logging”; facts B.6.
 */

/** Event codes. Those of guest translation, device TLBs, counters and SEV-SNP cannot occur in this model. */
export const EventCode = {
  /** ILLEGAL_DEV_TABLE_ENTRY: address of the request, 63:2. */
  illegalDeviceEntry: 0x1,
  /** IO_PAGE_FAULT: address of the request. */
  pageFault: 0x2,
  /** DEV_TAB_HARDWARE_ERROR: where the device table could not be read, 63:4. */
  deviceTableError: 0x3,
  /** PAGE_TAB_HARDWARE_ERROR: where a table could not be read. */
  pageTableError: 0x4,
  /** ILLEGAL_COMMAND_ERROR: address of the command. */
  illegalCommand: 0x5,
  /** COMMAND_HARDWARE_ERROR: what the command buffer could not read, or a COMPLETION_WAIT not write. */
  commandError: 0x6,
  deviceTlbTimeout: 0x7,
  /** INVALID_DEVICE_REQUEST: address of the request; its type is in the flags. */
  invalidRequest: 0x8,
  invalidPageRequest: 0x9,
  counterZero: 0xa,
} as const

/** Flags, from bit 16 of word 1. */
export const EventFlag = {
  guest: 0x001,
  noExecute: 0x002,
  user: 0x004,
  /** I: an interrupt message. */
  interrupt: 0x008,
  /** PR: the entry was present, or remaps. */
  present: 0x010,
  /** RW: a write. Meaningless for interrupts. */
  write: 0x020,
  /** PE: no permission. */
  permission: 0x040,
  /** RZ: a reserved bit is set, or a level or size is not valid. */
  reserved: 0x080,
  /** TR: a translation request. */
  translation: 0x100,
  typeShift: 9,
} as const

/** Type of a hardware error: 10:9 of the flags. */
export const HardwareErrorType = { masterAbort: 1, targetAbort: 2, dataError: 3 } as const

/** Type of an INVALID_DEVICE_REQUEST: 11:9 of the flags. */
export const InvalidRequestType = {
  /** A read, or a non-posted write, of the interrupt range. */
  interruptRead: 0,
  /** A posted write of the interrupt range by a device whose interrupts are aborted. */
  interruptAborted: 5,
  /** A posted write of the interrupt range that is no interrupt message. */
  interruptReserved: 6,
} as const

/** Ways in which a request fails: numbers of this model, each with its event below. */
export const Fault = {
  /** The requester lies beyond the device table. */
  deviceBeyondTable: 1,
  deviceTableAccess: 2,
  /** Reserved bits in the part of the entry that is valid. */
  deviceReserved: 3,
  /** V = 1, TV = 0. */
  translationInvalid: 4,
  /** A right is missing in the device table entry or in an entry on the way. */
  permission: 5,
  /** Mode is 7, or more levels than the unit has. */
  modeInvalid: 6,
  /** Address bits above the table's width. */
  beyondWidth: 7,
  notPresent: 8,
  pageReserved: 9,
  /** A next level that is not below its own, or a leaf at level 6. */
  levelInvalid: 10,
  /** A leaf size that does not belong to its level. */
  sizeInvalid: 11,
  /** Address bits of skipped levels are not 0. */
  skippedNotZero: 12,
  pageTableAccess: 13,
  /** Interrupts: reserved bits in the entry's upper half, table length, IntCtl. */
  interruptReserved: 14,
  interruptLength: 15,
  interruptControl: 16,
  interruptBeyondTable: 17,
  /** RemapEn is 0. */
  interruptUnmapped: 18,
  /** Reserved bits, GuestMode or IntType of an interrupt table entry. */
  interruptEntryReserved: 19,
  interruptTableAccess: 20,
  interruptRead: 21,
  interruptAborted: 22,
  interruptFormat: 23,
} as const

const { illegalDeviceEntry, pageFault, deviceTableError, pageTableError, invalidRequest } = EventCode
const { present, permission, reserved, typeShift } = EventFlag

/**
 * Code and flags of each fault. Where sources differ (facts B.3, H.1), as VirtualBox has them, who follows the specification's list
 * of page faults: a requester beyond the table, TV = 0 and an invalid Mode are IO_PAGE_FAULT, not ILLEGAL_DEV_TABLE_ENTRY as in
 * openvmm. RZ is set for an invalid level too, as the bit is named (“reserved bit not zero or invalid level encoding”); VirtualBox
 * leaves it clear there.
 */
const events: Readonly<Record<number, readonly [code: number, flags: number]>> = {
  [Fault.deviceBeyondTable]: [pageFault, 0],
  [Fault.deviceTableAccess]: [deviceTableError, 0],
  [Fault.deviceReserved]: [illegalDeviceEntry, reserved],
  [Fault.translationInvalid]: [pageFault, 0],
  [Fault.permission]: [pageFault, present | permission],
  [Fault.modeInvalid]: [pageFault, present | reserved],
  [Fault.beyondWidth]: [pageFault, 0],
  [Fault.notPresent]: [pageFault, 0],
  [Fault.pageReserved]: [pageFault, present | reserved],
  [Fault.levelInvalid]: [pageFault, present | reserved],
  [Fault.sizeInvalid]: [pageFault, present | reserved],
  [Fault.skippedNotZero]: [pageFault, present],
  [Fault.pageTableAccess]: [pageTableError, 0],
  [Fault.interruptReserved]: [illegalDeviceEntry, reserved],
  [Fault.interruptLength]: [illegalDeviceEntry, reserved],
  [Fault.interruptControl]: [illegalDeviceEntry, reserved],
  [Fault.interruptBeyondTable]: [pageFault, 0],
  [Fault.interruptUnmapped]: [pageFault, 0],
  [Fault.interruptEntryReserved]: [pageFault, present | reserved],
  [Fault.interruptTableAccess]: [pageTableError, 0],
  [Fault.interruptRead]: [invalidRequest, InvalidRequestType.interruptRead << typeShift],
  [Fault.interruptAborted]: [invalidRequest, InvalidRequestType.interruptAborted << typeShift],
  [Fault.interruptFormat]: [invalidRequest, InvalidRequestType.interruptReserved << typeShift],
}

/** Event code of `fault`. */
export const eventCode = (fault: number): number => events[fault]![0]

/**
 * Writes the event of `fault` into words `at`…`at` + 3 of `out`. `kind` is 0 for a read, {@link EventFlag}.write or .interrupt;
 * (`hi`:`lo`) is the request's address, (`failedHi`:`failedLo`) where memory failed and `errorType` how ({@link HardwareErrorType});
 * they are looked at for hardware errors only.
 */
export function encodeEvent(
  out: Int32Array,
  at: number,
  fault: number,
  requester: number,
  domain: number,
  kind: number,
  hi: number,
  lo: number,
  failedHi: number,
  failedLo: number,
  errorType: number,
): void {
  const [code, fixed] = events[fault]!
  const failed = code === deviceTableError || code === pageTableError
  const flags = fixed | (code === invalidRequest ? 0 : kind) | (failed ? errorType << typeShift : 0)
  out[at] = requester
  out[at + 1] = (code << 28) | (flags << 16) | (code === pageFault || code === pageTableError ? domain : 0)
  out[at + 2] = failed ? failedLo : code === illegalDeviceEntry ? lo & ~3 : lo
  out[at + 3] = failed ? failedHi : hi
}

const faultTexts: Readonly<Record<number, string>> = {
  [Fault.deviceBeyondTable]: 'requester beyond the device table',
  [Fault.deviceTableAccess]: 'device table cannot be read',
  [Fault.deviceReserved]: 'reserved bits set in device table entry',
  [Fault.translationInvalid]: 'translation information not valid (TV = 0)',
  [Fault.permission]: 'access not permitted',
  [Fault.modeInvalid]: 'paging mode not valid',
  [Fault.beyondWidth]: 'address beyond the table width',
  [Fault.notPresent]: 'page not present',
  [Fault.pageReserved]: 'reserved bits set in page table entry',
  [Fault.levelInvalid]: 'next level not valid',
  [Fault.sizeInvalid]: 'page size not valid at its level',
  [Fault.skippedNotZero]: 'address bits of skipped levels not zero',
  [Fault.pageTableAccess]: 'page table cannot be read',
  [Fault.interruptReserved]: 'reserved bits set in the interrupt part of a device table entry',
  [Fault.interruptLength]: 'interrupt table length not valid',
  [Fault.interruptControl]: 'interrupt control not valid',
  [Fault.interruptBeyondTable]: 'interrupt beyond its table',
  [Fault.interruptUnmapped]: 'interrupt not mapped',
  [Fault.interruptEntryReserved]: 'interrupt table entry not valid',
  [Fault.interruptTableAccess]: 'interrupt table cannot be read',
  [Fault.interruptRead]: 'read of the interrupt range',
  [Fault.interruptAborted]: 'interrupts of the device are aborted',
  [Fault.interruptFormat]: 'no interrupt message',
}

/** What a fault means, for people. */
export const faultText = (fault: number): string => faultTexts[fault] ?? 'unknown fault'

const codeNames: Readonly<Record<number, string>> = {
  [EventCode.illegalDeviceEntry]: 'ILLEGAL_DEV_TABLE_ENTRY',
  [EventCode.pageFault]: 'IO_PAGE_FAULT',
  [EventCode.deviceTableError]: 'DEV_TAB_HARDWARE_ERROR',
  [EventCode.pageTableError]: 'PAGE_TAB_HARDWARE_ERROR',
  [EventCode.illegalCommand]: 'ILLEGAL_COMMAND_ERROR',
  [EventCode.commandError]: 'COMMAND_HARDWARE_ERROR',
  [EventCode.deviceTlbTimeout]: 'IOTLB_INV_TIMEOUT',
  [EventCode.invalidRequest]: 'INVALID_DEVICE_REQUEST',
  [EventCode.invalidPageRequest]: 'INVALID_PPR_REQUEST',
  [EventCode.counterZero]: 'EVENT_COUNTER_ZERO',
}

/** Name of an event code. */
export const eventName = (code: number): string => codeNames[code] ?? 'unknown event'
