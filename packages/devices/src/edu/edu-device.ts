/**
 * QEMU's educational PCI device (1234:11e8), register for register: liveness check, factorials, interrupts on demand, and one DMA
 * channel between its 4 KiB buffer and the bus, so that one driver and one test run on it and on QEMU's.
 *
 * It differs where QEMU's fails: a transfer that leaves the buffer moves nothing (QEMU 7.2 stops the machine, later ones go on past the
 * end), and a reset clears registers and buffer. Boards here have no INTx lines, so interrupts are messages or nothing.
 */
import { type ClockTimer, type Machine, type MmioDevice, PAGE_SIZE, PciFunction } from '@iospace/machine'
import { EDU_DEVICE, EDU_VENDOR } from '../ids.ts'
import {
  EDU_BAR_BYTES,
  EDU_BUFFER,
  EDU_BUFFER_BYTES,
  EDU_IDENTIFICATION,
  EduCommand,
  EduInterrupt,
  EduRegister,
  EduStatus,
} from './registers.ts'

/** Board memory that one device takes, the page for its interrupt messages included. */
export const EDU_BOARD_BYTES = EDU_BUFFER_BYTES + PAGE_SIZE
/** 28 bits: drivers have to learn that devices cannot reach everything. */
export const EDU_DMA_MASK = 0xfff_ffffn
/** Unclassified device, other. */
const CLASS = 0x00_ff00
const REVISION = 0x10
const ALL_ONES_64 = 0xffff_ffff_ffff_ffffn
/** From here on the product of all whole numbers up to it has 32 factors of two, or more. */
const FACTORIAL_IS_ZERO = 34

export interface EduOptions {
  readonly machine: Machine
  /** The address bits that its transfers have; others are cut off. Default: {@link EDU_DMA_MASK}. */
  readonly dmaMask?: bigint
  /** Virtual ns of a transfer; with 0 it is done when the write of its command returns. Default: 100 ms. */
  readonly dmaTime?: number
  /** Virtual ns of a factorial. Default: 1 µs. */
  readonly factorialTime?: number
}

const DMA_TIME = 100e6
const FACTORIAL_TIME = 1000

export class EduDevice extends PciFunction implements MmioDevice {
  readonly #machine: Machine
  readonly #bufferAt: number
  readonly #dmaMask: bigint
  readonly #dmaTime: number
  readonly #factorialTime: number
  readonly #transfer: ClockTimer
  readonly #computation: ClockTimer
  #liveness = 0
  #factorial = 0
  #status = 0
  #interruptStatus = 0
  #source = 0n
  #destination = 0n
  #count = 0n
  #command = 0n

  constructor({ machine, dmaMask = EDU_DMA_MASK, dmaTime = DMA_TIME, factorialTime = FACTORIAL_TIME }: EduOptions) {
    const bar: { device: EduDevice | null } = { device: null }
    super({
      vendorId: EDU_VENDOR,
      deviceId: EDU_DEVICE,
      classCode: CLASS,
      revision: REVISION,
      bars: [
        {
          index: 0,
          bytes: EDU_BAR_BYTES,
          wide: false,
          registers: {
            read32: (offset) => bar.device!.read32(offset),
            write32: (offset, value) => bar.device!.write32(offset, value),
            read64: (offset) => bar.device!.read64(offset),
            write64: (offset, value) => bar.device!.write64(offset, value),
          },
        },
      ],
      msi: true,
    })
    bar.device = this
    this.#machine = machine
    this.#bufferAt = machine.memory.boardMemory(EDU_BUFFER_BYTES)
    this.#dmaMask = dmaMask
    this.#dmaTime = dmaTime
    this.#factorialTime = factorialTime
    this.#transfer = machine.clock.timer(() => this.#finishTransfer())
    this.#computation = machine.clock.timer(() => this.#finishFactorial())
  }

  read32(offset: number): number {
    switch (offset) {
      case EduRegister.identification:
        return EDU_IDENTIFICATION
      case EduRegister.liveness:
        return this.#liveness
      case EduRegister.factorial:
        return this.#factorial
      case EduRegister.status:
        return this.#status
      case EduRegister.interruptStatus:
        return this.#interruptStatus
      default:
        return Number(BigInt.asUintN(32, this.read64(offset)))
    }
  }

  read64(offset: number): bigint {
    switch (offset) {
      case EduRegister.source:
        return this.#source
      case EduRegister.destination:
        return this.#destination
      case EduRegister.count:
        return this.#count
      case EduRegister.command:
        return this.#command
      default:
        return ALL_ONES_64
    }
  }

  write32(offset: number, value: number): void {
    switch (offset) {
      case EduRegister.liveness:
        this.#liveness = ~value >>> 0
        return
      case EduRegister.factorial:
        if ((this.#status & EduStatus.computing) !== 0) return
        this.#factorial = value
        this.#status |= EduStatus.computing
        this.#computation.start(this.#factorialTime)
        return
      case EduRegister.status:
        this.#status = (this.#status & EduStatus.computing) | (value & EduStatus.interruptWhenComputed)
        return
      case EduRegister.interruptRaise:
        this.#raise(value)
        return
      case EduRegister.interruptAcknowledge:
        this.#interruptStatus = (this.#interruptStatus & ~value) >>> 0
        return
      default:
        this.write64(offset, BigInt(value))
    }
  }

  write64(offset: number, value: bigint): void {
    if ((this.#command & BigInt(EduCommand.run)) !== 0n) return
    if (offset === EduRegister.source) this.#source = value
    else if (offset === EduRegister.destination) this.#destination = value
    else if (offset === EduRegister.count) this.#count = value
    else if (offset === EduRegister.command && (value & BigInt(EduCommand.run)) !== 0n) {
      this.#command = value
      if (this.#dmaTime > 0) this.#transfer.start(this.#dmaTime)
      else this.#finishTransfer()
    }
  }

  protected override onReset(): void {
    this.#transfer.cancel()
    this.#computation.cancel()
    this.#liveness = this.#factorial = this.#status = this.#interruptStatus = 0
    this.#source = this.#destination = this.#count = this.#command = 0n
    // The buffer does not survive: the next owner must not read what the last one fetched.
    this.#machine.memory.fill(this.#bufferAt, 0, EDU_BUFFER_BYTES)
  }

  #finishFactorial(): void {
    this.#factorial = factorial(this.#factorial)
    this.#status &= ~EduStatus.computing
    if ((this.#status & EduStatus.interruptWhenComputed) !== 0) this.#raise(EduInterrupt.factorial)
  }

  #finishTransfer(): void {
    const command = Number(BigInt.asUintN(32, this.#command))
    const fromBuffer = (command & EduCommand.fromBuffer) !== 0
    const [there, address] = fromBuffer ? [this.#source, this.#destination] : [this.#destination, this.#source]
    const inside = there - BigInt(EDU_BUFFER)
    if (inside >= 0n && inside + this.#count <= BigInt(EDU_BUFFER_BYTES))
      this.#move(fromBuffer, address & this.#dmaMask, this.#bufferAt + Number(inside), Number(this.#count))
    this.#command &= ~BigInt(EduCommand.run)
    if ((command & EduCommand.interruptWhenDone) !== 0) this.#raise(EduInterrupt.dma)
  }

  // Each page for itself: what cannot be read is zeros, what cannot be written is lost, and the rest is moved all the same.
  #move(write: boolean, address: bigint, at: number, count: number): void {
    for (let done = 0; done < count;) {
      const there = BigInt.asUintN(64, address + BigInt(done))
      const hi = Number(there >> 32n) | 0
      const lo = Number(there & 0xffff_ffffn) | 0
      const piece = Math.min(count - done, PAGE_SIZE - (lo & (PAGE_SIZE - 1)))
      if (write) this.dmaWrite(hi, lo, at + done, piece)
      else if (this.dmaRead(hi, lo, at + done, piece) < 0) this.#machine.memory.fill(at + done, 0, piece)
      done += piece
    }
  }

  // A message for each time, also where its bits were set already.
  #raise(bits: number): void {
    this.#interruptStatus = (this.#interruptStatus | bits) >>> 0
    if (this.#interruptStatus !== 0) this.interrupt()
  }
}

/** The low 32 bits of the product of 1 to `value`. */
function factorial(value: number): number {
  if (value >= FACTORIAL_IS_ZERO) return 0
  let product = 1
  for (let i = 2; i <= value; i++) product = Math.imul(product, i)
  return product >>> 0
}
