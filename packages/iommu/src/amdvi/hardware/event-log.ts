/**
 * The event log (facts B.6; AMD 48882 “Event Logging”): a ring of 16-byte entries in memory, its overflow, and the bits of the status
 * register that send the unit's message.
 */
import type { RegisterFile } from '../../register-file.ts'
import type { TableMemory } from '../../table-memory.ts'
import { encodeEvent, EventCode } from '../spec/events.ts'
import { Control, Register, RING_ENTRY_BYTES, RingRegister, Status } from '../spec/registers.ts'

/** The requesters that raised a page fault since their device table entry was last invalidated: one bit each. */
const RAISED_WORDS = 0x1_0000 / 32

export class EventLog {
  declare private readonly registers: RegisterFile
  declare private readonly tables: TableMemory
  readonly #send: () => void
  readonly #raised = new Int32Array(RAISED_WORDS)
  readonly #event = new Int32Array(4)
  /** Status bits whose message is out. */
  #signalled = 0
  #wasOn = false

  /** `send` sends the unit's message. */
  constructor(registers: RegisterFile, tables: TableMemory, send: () => void) {
    this.registers = registers
    this.tables = tables
    this.#send = send
  }

  /** Logs `fault` of a request; arguments as for {@link encodeEvent}. */
  fault(
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
    encodeEvent(this.#event, 0, fault, requester, domain, kind, hi, lo, failedHi, failedLo, errorType)
    this.#write()
  }

  /** Logs an error of the command buffer: `errorType` 0 for an illegal command at (`hi`:`lo`), else how the access to it failed. */
  command(errorType: number, hi: number, lo: number): void {
    const event = this.#event
    event[0] = 0
    event[1] = ((errorType === 0 ? EventCode.illegalCommand : EventCode.commandError) << 28) | (errorType << 25)
    event[2] = lo
    event[3] = hi
    this.#write()
  }

  /** Notes that `requester` raised a page fault; true when it had before. */
  raisedBefore(requester: number): boolean {
    const bit = 1 << (requester & 31)
    const before = this.#raised[requester >>> 5]!
    this.#raised[requester >>> 5] = before | bit
    return (before & bit) !== 0
  }

  forgetRaised(requester: number): void {
    this.#raised[requester >>> 5]! &= ~(1 << (requester & 31))
  }

  forgetAllRaised(): void {
    this.#raised.fill(0)
  }

  /** The control register was written: the log starts when it is switched on with no overflow left, and stops when it is off. */
  update(): void {
    const control = this.registers.get(Register.control)
    const on =
      (control & Control.enable) !== 0 && (control & Control.eventLog) !== 0 && this.#log2 >= RingRegister.minLength
    if (!on) this.#status &= ~Status.eventRunning
    else if (!this.#wasOn && (this.#status & Status.eventOverflow) === 0) this.#status |= Status.eventRunning
    this.#wasOn = on
    this.signal()
  }

  /** Sends the message when a status bit that is enabled for it was newly set. Called after every change of control or status. */
  signal(): void {
    const control = this.registers.get(Register.control)
    const enabled =
      ((control & Control.eventInterrupt) !== 0 ? Status.eventOverflow | Status.eventInterrupt : 0) |
      ((control & Control.waitInterrupt) !== 0 ? Status.waitInterrupt : 0)
    const wanted = this.#status & enabled
    const fresh = wanted & ~this.#signalled
    this.#signalled = wanted
    if (fresh !== 0) this.#send()
  }

  get #status(): number {
    return this.registers.get(Register.status)
  }

  set #status(value: number) {
    this.registers.set(Register.status, value)
  }

  get #log2(): number {
    return (this.registers.get(Register.eventLog + 4) >>> RingRegister.lengthShift) & RingRegister.lengthMask
  }

  #write(): void {
    if ((this.#status & Status.eventRunning) === 0) return
    const registers = this.registers
    const tail = registers.get(Register.eventTail)
    const next = (tail + RING_ENTRY_BYTES) & ((RING_ENTRY_BYTES << this.#log2) - 1)
    if (next === registers.get(Register.eventHead)) {
      this.#status = (this.#status | Status.eventOverflow) & ~Status.eventRunning
      this.signal()
      return
    }
    const low = registers.get(Register.eventLog)
    const base = (registers.get(Register.eventLog + 4) & RingRegister.addressHigh) * 0x10_0000 + (low >>> 12)
    const at = this.tables.entryAt(base + (tail >>> 12), (tail & 0xfff) >>> 3)
    // A log where there is no memory is lost, as it is on a bus.
    if (at >= 0) this.tables.words.set(this.#event, at)
    registers.set(Register.eventTail, next)
    this.#status |= Status.eventInterrupt
    this.signal()
  }
}
