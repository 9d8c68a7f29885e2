/**
 * Primary fault logging (facts A.4; VT-d specification “Fault Logging”): fault recording registers used in a circle, the fault
 * status register, and the fault event.
 */
import type { RegisterFile } from '../../register-file.ts'
import type { VtdCapabilities } from '../spec/capabilities.ts'
import { FAULT_RECORD_BYTES, FaultRecord, FaultStatus, Register } from '../spec/registers.ts'
import type { EventMessage } from './event-message.ts'

export class FaultLog {
  declare private readonly registers: RegisterFile
  declare private readonly event: EventMessage
  declare private readonly first: number
  declare private readonly records: number
  declare private readonly collapse: boolean
  declare private readonly addressTypes: boolean
  #next = 0

  /** `collapse`: a fault of a requester that has a pending record is not recorded again (the specification lets hardware choose). */
  constructor(registers: RegisterFile, event: EventMessage, capabilities: VtdCapabilities, collapse: boolean) {
    this.registers = registers
    this.event = event
    this.first = capabilities.faultRecordOffset
    this.records = capabilities.faultRecords
    this.collapse = collapse
    this.addressTypes = capabilities.deviceTlb
    const { clearable, deviceTlb, queueError } = FaultStatus
    const absent = (capabilities.deviceTlb ? 0 : deviceTlb) | (capabilities.queue ? 0 : queueError)
    registers.define(Register.faultStatus, 0, 0, clearable & ~absent)
    for (let i = 0; i < this.records; i++) registers.define(this.#at(i) + 12, 0, 0, FaultRecord.fault)
  }

  /**
   * Records a fault of `requester` at the page of (`hi`:`lo`), if there is room. `addressType` is AT of the request: a unit without device
   * TLBs does not tell it.
   */
  record(reason: number, requester: number, hi: number, lo: number, write: boolean, addressType = 0): void {
    const status = this.#status
    if ((status & FaultStatus.overflow) !== 0) return
    if (this.collapse && this.#hasRecord(requester)) return
    const at = this.#at(this.#next)
    if ((this.registers.get(at + 12) & FaultRecord.fault) !== 0) {
      this.raise(FaultStatus.overflow)
      return
    }
    this.registers.set(at, lo & ~0xfff)
    this.registers.set(at + 4, hi)
    this.registers.set(at + 8, requester & FaultRecord.sourceMask)
    const type = this.addressTypes ? addressType << FaultRecord.addressTypeShift : 0
    this.registers.set(at + 12, FaultRecord.fault | (write ? 0 : FaultRecord.read) | type | reason)
    const index = this.#next
    this.#next = (index + 1) % this.records
    if ((status & FaultStatus.pending) !== 0) return
    this.#status = (status & ~(0xff << FaultStatus.indexShift)) | (index << FaultStatus.indexShift)
    this.raise(FaultStatus.pending)
  }

  /** Sets status bit `bit`; a fault event follows if no other one was set. */
  raise(bit: number): void {
    const before = this.#status & FaultStatus.events
    this.#status |= bit
    if (before === 0) this.event.raise()
  }

  /** After software wrote the status or a record: PPF follows the F bits, and a pending event dies with its last cause. */
  update(): void {
    let pending = false
    for (let i = 0; i < this.records && !pending; i++)
      pending = (this.registers.get(this.#at(i) + 12) & FaultRecord.fault) !== 0
    this.#status = pending ? this.#status | FaultStatus.pending : this.#status & ~FaultStatus.pending
    if ((this.#status & FaultStatus.events) === 0) this.event.withdraw()
  }

  /** The next fault goes to record 0: when neither translation nor interrupt remapping is on any more. */
  rewind(): void {
    this.#next = 0
  }

  /** True for the offset of a word of a record. */
  owns(offset: number): boolean {
    return offset >= this.first && offset < this.first + this.records * FAULT_RECORD_BYTES
  }

  /** Offsets of everything that a reset with the power on leaves. */
  sticky(): number[] {
    return Array.from({ length: this.records * (FAULT_RECORD_BYTES / 4) }, (_, word) => this.first + word * 4)
  }

  get #status(): number {
    return this.registers.get(Register.faultStatus)
  }

  set #status(value: number) {
    this.registers.set(Register.faultStatus, value)
  }

  #at(index: number): number {
    return this.first + index * FAULT_RECORD_BYTES
  }

  #hasRecord(requester: number): boolean {
    for (let i = 0; i < this.records; i++) {
      const at = this.#at(i)
      if (
        (this.registers.get(at + 12) & FaultRecord.fault) !== 0 &&
        (this.registers.get(at + 8) & FaultRecord.sourceMask) === requester
      )
        return true
    }
    return false
  }
}
