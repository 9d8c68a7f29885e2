/**
 * Queued invalidation (facts A.5; VT-d specification “Queued Invalidation Interface”). Descriptors take effect late, in virtual time,
 * and in order; a wait descriptor tells when. A bad descriptor stops the queue at it, with FSTS.IQE, until that is cleared.
 */
import type { Clock, ClockTimer } from '@iospace/machine'
import type { RegisterFile } from '../../register-file.ts'
import type { TableMemory } from '../../table-memory.ts'
import type { VtdTiming } from '../personalities.ts'
import {
  ContextDescriptor,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_TYPE_MASK,
  DESCRIPTORS_PER_PAGE,
  DescriptorType,
  IotlbDescriptor,
  WaitDescriptor,
} from '../spec/queue.ts'
import {
  ContextCommand,
  FaultStatus,
  Granularity,
  InvalidationAddress,
  QueueAddress,
  Register,
  WAIT_COMPLETE,
} from '../spec/registers.ts'
import type { VtdCaches } from './caches.ts'
import type { EventMessage } from './event-message.ts'
import { entryFrame } from '../walk.ts'
import type { FaultLog } from './fault-log.ts'

/** Word 0 of a drained invalidation of pages, and word 2 of one whose directories stay and that is of order 0. */
const DRAINED_PAGE = (Granularity.page << IotlbDescriptor.granularityShift) | IotlbDescriptor.drainWrites
const PAGE_MASK = (3 << IotlbDescriptor.granularityShift) | IotlbDescriptor.drainWrites
const LEAF_MASK = InvalidationAddress.leafOnly | InvalidationAddress.orderMask
const DESCRIPTOR_SHIFT = Math.log2(DESCRIPTOR_BYTES)
/** QS of a legacy queue of one page is 0; tails are byte offsets. */
const PAGE_BYTES = DESCRIPTORS_PER_PAGE * DESCRIPTOR_BYTES

export class InvalidationQueue {
  enabled = false
  /** Called once when the queue has become empty after {@link whenEmpty}. */
  #whenEmpty: (() => void) | null = null
  declare private readonly registers: RegisterFile
  declare private readonly tables: TableMemory
  declare private readonly timer: ClockTimer
  declare private readonly caches: VtdCaches
  declare private readonly log: FaultLog
  declare private readonly event: EventMessage
  declare private readonly timing: VtdTiming
  #frame = 0
  #bytes = PAGE_BYTES
  /** Where the next descriptor is, and where the step that is scheduled stops. */
  #head = 0
  #until = 0

  constructor(
    registers: RegisterFile,
    tables: TableMemory,
    clock: Clock,
    caches: VtdCaches,
    log: FaultLog,
    event: EventMessage,
    timing: VtdTiming,
  ) {
    this.registers = registers
    this.tables = tables
    this.timer = clock.timer(() => this.#run())
    this.caches = caches
    this.log = log
    this.event = event
    this.timing = timing
    registers.define(Register.queueHead, 0)
    registers.define(Register.queueTail, 0, 0x7fff0)
    registers.define(Register.queueAddress, 0, QueueAddress.addressMask | QueueAddress.sizeMask)
    registers.define(Register.queueAddress + 4, 0, -1)
    registers.define(Register.invalidationStatus, 0, 0, WAIT_COMPLETE)
  }

  /** QIE was set: latches the address register and starts at its beginning. */
  enable(): void {
    const low = this.registers.get(Register.queueAddress)
    this.#frame = (this.registers.get(Register.queueAddress + 4) >>> 0) * 0x10_0000 + (low >>> 12)
    this.#bytes = PAGE_BYTES << (low & QueueAddress.sizeMask)
    this.#moveHead(0)
    this.enabled = true
    this.start()
  }

  disable(): void {
    this.enabled = false
  }

  /** Calls `action` when nothing is left to do: at once, later, or never while the queue is stopped at a bad descriptor. */
  whenEmpty(action: () => void): void {
    if (this.#head === this.registers.get(Register.queueTail) && !this.timer.pending) action()
    else this.#whenEmpty = action
  }

  /** IQA was written: head and tail are 0. */
  rewind(): void {
    if (this.enabled) return
    this.#moveHead(0)
    this.registers.set(Register.queueTail, 0)
  }

  /** The tail moved, or an error was cleared. */
  start(): void {
    const { registers, timer } = this
    const tail = registers.get(Register.queueTail)
    if (!this.enabled || timer.pending || this.#head === tail) return
    if ((registers.get(Register.faultStatus) & FaultStatus.queueError) !== 0) return
    this.#until = tail
    const waiting = ((tail - this.#head) & (this.#bytes - 1)) >>> DESCRIPTOR_SHIFT
    timer.start(this.timing.queue + this.timing.descriptor * (waiting - 1))
  }

  #run(): void {
    const until = this.#until
    const bytes = this.#bytes
    let head = this.#head
    while (head !== until) {
      // A tail that is not in the queue is never reached.
      if (until >= bytes || !this.#execute(head)) {
        this.#moveHead(head)
        this.log.raise(FaultStatus.queueError)
        return
      }
      head = (head + DESCRIPTOR_BYTES) & (bytes - 1)
    }
    this.#moveHead(head)
    if (this.registers.get(Register.queueTail) !== head) this.start()
    else if (this.#whenEmpty !== null) {
      const action = this.#whenEmpty
      this.#whenEmpty = null
      action()
    }
  }

  #moveHead(head: number): void {
    this.#head = head
    this.registers.set(Register.queueHead, head)
  }

  // False for a descriptor that cannot be read or is not valid.
  #execute(head: number): boolean {
    const at = this.tables.entryAt(this.#frame + (head >>> 12), (head & 0xfff) >>> 3)
    if (at < 0) return false
    const { words } = this.tables
    const low = words[at]!
    const next = words[at + 1]!
    const third = words[at + 2]!
    const fourth = words[at + 3]!
    switch (low & DESCRIPTOR_TYPE_MASK) {
      case DescriptorType.context: {
        if (((low & ContextDescriptor.reserved0) | (next & ContextDescriptor.reserved1) | third | fourth) !== 0)
          return false
        const granularity = (low >>> ContextDescriptor.granularityShift) & 3
        const functionMask = (next >>> ContextDescriptor.functionMaskShift) & ContextCommand.functionMask
        return (
          this.caches.invalidateContexts(
            granularity,
            low >>> ContextDescriptor.domainShift,
            next & 0xffff,
            functionMask,
          ) !== Granularity.refused
        )
      }
      case DescriptorType.iotlb: {
        if (((low & IotlbDescriptor.reserved0) | next | (third & IotlbDescriptor.reserved2)) !== 0) return false
        if ((low & PAGE_MASK) === DRAINED_PAGE && (third & LEAF_MASK) === InvalidationAddress.leafOnly) {
          return this.caches.invalidatePage(low >>> IotlbDescriptor.domainShift, fourth, third)
        }
        return (
          this.caches.invalidateIotlb(
            (low >>> IotlbDescriptor.granularityShift) & 3,
            low >>> IotlbDescriptor.domainShift,
            fourth,
            third & ~0xfff,
            third & InvalidationAddress.orderMask,
            (third & InvalidationAddress.leafOnly) !== 0,
            (low & IotlbDescriptor.drainWrites) !== 0,
          ) !== Granularity.refused
        )
      }
      case DescriptorType.wait:
        if (((low & WaitDescriptor.reserved0) | (third & WaitDescriptor.reserved2)) !== 0) return false
        this.#complete(low, next, fourth, third)
        return true
      default:
        // Device TLBs and interrupt entries are not advertised: their descriptors are as unknown as the rest.
        return false
    }
  }

  #complete(flags: number, data: number, hi: number, lo: number): void {
    if ((flags & WaitDescriptor.statusWrite) !== 0) {
      const { tables } = this
      const at = hi >>> 20 === 0 ? tables.entryAt(entryFrame(hi, lo), (lo & 0xfff) >>> 3) : -1
      if (at >= 0) tables.words[at + ((lo >>> 2) & 1)] = data
    }
    if ((flags & WaitDescriptor.interrupt) === 0 || this.registers.get(Register.invalidationStatus) !== 0) return
    this.registers.set(Register.invalidationStatus, WAIT_COMPLETE)
    this.event.raise()
  }
}
