/**
 * The software side of interrupt remapping: one page of entries, each for one requester and nobody else (SVT = 1). An entry is used again only
 * after the unit has confirmed that it forgot the old one.
 */
import { StateError } from '@iospace/wire'
import { DriverStatus, type DriverPort, type InterruptMessage } from '../../iommu-driver.ts'
import { INTERRUPT_ENTRIES_PER_PAGE, InterruptEntry, RemappableMessage, SourceValidation } from '../spec/irte.ts'
import type { DriverQueue } from './queue.ts'

/** 0xFEE00000, where messages go. */
const MESSAGE_ADDRESS = 0xfee0_0000 | 0
/** IRTA.S of a table of one page: 2^(S+1) entries. */
export const INTERRUPT_TABLE_SIZE = Math.log2(INTERRUPT_ENTRIES_PER_PAGE) - 1
const FREE = -1

export class InterruptTable {
  /** The page. */
  declare readonly frame: number
  declare private readonly port: DriverPort
  declare private readonly queue: DriverQueue
  /** Makes what was stored visible to the unit, where a store alone does not: ok or timedOut. */
  declare private readonly publish: (index: number) => number
  /** Requester of each entry. */
  readonly #owners = new Int32Array(INTERRUPT_ENTRIES_PER_PAGE).fill(FREE)

  /** `cachesAbsent`: the unit may have cached that an entry was not there (caching mode). `flush`: its write buffer must be flushed. */
  constructor(
    port: DriverPort,
    queue: DriverQueue,
    frame: number,
    cachesAbsent: boolean,
    flush: (() => boolean) | null,
  ) {
    this.port = port
    this.queue = queue
    this.frame = frame
    this.publish = cachesAbsent
      ? (index) => this.#forget(index)
      : flush === null
        ? () => DriverStatus.ok
        : () => (flush() ? DriverStatus.ok : DriverStatus.timedOut)
  }

  /** See {@link IommuDriver.mapInterrupt}. The destination is the CPU with APIC id 0, physical, fixed, edge. */
  map(requester: number, vector: number, message: InterruptMessage): number {
    const index = this.#owners.indexOf(FREE)
    if (index < 0) return DriverStatus.noTable
    this.#owners[index] = requester
    this.#store(
      index,
      InterruptEntry.present | (vector << InterruptEntry.vectorShift),
      requester | (SourceValidation.sourceId << InterruptEntry.validationShift),
    )
    const status = this.publish(index)
    if (status !== DriverStatus.ok) {
      // Nobody knows what the unit has seen: the entry says no again, and is not given to anybody else.
      this.#store(index, 0, 0)
      return status
    }
    message.addressLow =
      MESSAGE_ADDRESS |
      RemappableMessage.format |
      RemappableMessage.subhandleValid |
      (index << RemappableMessage.handleShift)
    message.addressHigh = 0
    message.data = 0
    return index
  }

  /** See {@link IommuDriver.unmapInterrupt}; after timedOut it can be tried again. */
  unmap(requester: number, index: number): number {
    if (this.#owners[index] !== requester)
      throw new StateError(`interrupt ${index}`, `is not one of requester 0x${requester.toString(16)}`)
    this.#store(index, 0, 0)
    const status = this.#forget(index)
    if (status === DriverStatus.ok) this.#owners[index] = FREE
    return status
  }

  #forget(index: number): number {
    const status = this.queue.interrupts(index)
    return status === DriverStatus.ok ? this.queue.complete() : status
  }

  #store(index: number, control: number, source: number): void {
    this.port.store128(this.frame, index * 2, 0, control, 0, source)
    this.port.flushLine(this.frame, index * 2)
  }
}
