/**
 * A device that does whatever its driver asks: DMA to and from any bus address, and 4-byte writes that forge interrupt messages. An
 * untrusted guest that owns it can attack with it everything that the IOMMU lets it reach.
 *
 * BAR0 has two pages: registers, then a window on the page of board memory that transfers go to and come from. A driver writes address
 * and length, then a command; with the default latency of 0 the transfer is done when that write returns, else when `status` says so.
 */
import { type ClockTimer, type Machine, type MmioDevice, PAGE_SIZE, PciFunction } from '@iospace/machine'
import { IOSPACE_VENDOR, ROGUE_DEVICE } from './ids.ts'

/** Byte offsets in BAR0. */
export const RogueRegister = {
  /** Reads {@link ROGUE_MAGIC}. */
  magic: 0x00,
  /** Bus address, any 64 bits. */
  addressLow: 0x04,
  addressHigh: 0x08,
  /** Bytes, 1 to 4096. */
  length: 0x0c,
  /** The doubleword that {@link RogueCommand.message} writes. */
  message: 0x10,
  /** Bit 0: send the MSI when a command is done. */
  control: 0x14,
  /** Writing one of {@link RogueCommand} starts it; ignored while busy. */
  command: 0x18,
  /** {@link RogueStatus}, with the DmaOutcome as a signed byte in 15:8. Read-only. */
  status: 0x1c,
  /** The window on the buffer. */
  buffer: 0x1000,
} as const

export const RogueCommand = {
  /** Memory to buffer. */
  read: 1,
  /** Buffer to memory. */
  write: 2,
  /** The message register to memory, 4 bytes whatever `length` says. */
  message: 3,
} as const

/** Bits of the status register; 0 at power-on. */
export const RogueStatus = {
  busy: 1,
  done: 2,
  /** Unknown command or length: nothing was tried. */ refused: 4,
} as const

/** "ROGU", little-endian. */
export const ROGUE_MAGIC = 0x55474f52
/** Board memory that one device takes, the page for its interrupt messages included. */
export const ROGUE_BOARD_BYTES = 3 * PAGE_SIZE
/** Signal processing controller, other: a class that no driver binds. */
const CLASS = 0x118000

export interface RogueOptions {
  readonly machine: Machine
  /** Virtual ns from command to completion. */
  readonly latency?: number
}

export class RogueDevice extends PciFunction implements MmioDevice {
  readonly #machine: Machine
  readonly #bufferAt: number
  readonly #dwordAt: number
  readonly #latency: number
  readonly #timer: ClockTimer
  /** Registers by word, `command` and the buffer excepted. */
  readonly #registers = new Int32Array(8)
  /** The registers as they were when the command under way began. */
  readonly #latched = new Int32Array(8)
  #command = 0

  constructor({ machine, latency = 0 }: RogueOptions) {
    const bar: { device: MmioDevice | null } = { device: null }
    super({
      vendorId: IOSPACE_VENDOR,
      deviceId: ROGUE_DEVICE,
      classCode: CLASS,
      bars: [
        {
          index: 0,
          bytes: 2 * PAGE_SIZE,
          wide: false,
          registers: {
            read32: (offset) => bar.device!.read32(offset),
            write32: (offset, value) => bar.device!.write32(offset, value),
          },
        },
      ],
      msi: true,
      express: { functionReset: true },
    })
    bar.device = this
    this.#machine = machine
    this.#bufferAt = machine.memory.boardMemory(PAGE_SIZE)
    this.#dwordAt = machine.memory.boardMemory(4)
    this.#latency = latency
    this.#timer = machine.clock.timer(() => this.#finish())
    this.onReset()
  }

  read32(offset: number): number {
    if (offset >= RogueRegister.buffer) {
      return this.#machine.memory.view.getUint32(this.#bufferAt + offset - RogueRegister.buffer, true)
    }
    return this.#registers[offset >>> 2] ?? 0
  }

  write32(offset: number, value: number): void {
    if (offset >= RogueRegister.buffer) {
      this.#machine.memory.view.setUint32(this.#bufferAt + offset - RogueRegister.buffer, value, true)
    } else if (offset === RogueRegister.command) this.#begin(value)
    else if (offset > RogueRegister.magic && offset < RogueRegister.command) this.#registers[offset >>> 2] = value
  }

  protected override onReset(): void {
    this.#timer.cancel()
    this.#registers.fill(0)
    this.#registers[RogueRegister.magic >>> 2] = ROGUE_MAGIC
    // The buffer does not survive: the next owner must not read what the last one fetched.
    this.#machine.memory.fill(this.#bufferAt, 0, PAGE_SIZE)
  }

  #begin(command: number): void {
    if ((this.#register(RogueRegister.status) & RogueStatus.busy) !== 0) return
    const length = this.#register(RogueRegister.length) >>> 0
    const moves = command === RogueCommand.read || command === RogueCommand.write
    const known = command === RogueCommand.message || (moves && length >= 1 && length <= PAGE_SIZE)
    this.#command = known ? command : 0
    this.#latched.set(this.#registers)
    this.#setStatus(RogueStatus.busy, 0)
    if (this.#latency > 0) this.#timer.start(this.#latency)
    else this.#finish()
  }

  #finish(): void {
    if (this.#command === 0) this.#setStatus(RogueStatus.done | RogueStatus.refused, 0)
    else this.#setStatus(RogueStatus.done, this.#transfer())
    if ((this.#register(RogueRegister.control) & 1) !== 0) this.interrupt()
  }

  #transfer(): number {
    const hi = this.#latched[RogueRegister.addressHigh >>> 2]!
    const lo = this.#latched[RogueRegister.addressLow >>> 2]!
    const length = this.#latched[RogueRegister.length >>> 2]!
    if (this.#command === RogueCommand.read) return this.dmaRead(hi, lo, this.#bufferAt, length)
    if (this.#command === RogueCommand.write) return this.dmaWrite(hi, lo, this.#bufferAt, length)
    this.#machine.memory.view.setInt32(this.#dwordAt, this.#latched[RogueRegister.message >>> 2]!, true)
    return this.dmaWrite(hi, lo, this.#dwordAt, 4)
  }

  #register(offset: number): number {
    return this.#registers[offset >>> 2]!
  }

  #setStatus(bits: number, outcome: number): void {
    this.#registers[RogueRegister.status >>> 2] = bits | ((outcome & 0xff) << 8)
  }
}

/** The DmaOutcome in a value of the status register; 0 while nothing was tried. */
export const rogueOutcome = (status: number): number => (status << 16) >> 24
