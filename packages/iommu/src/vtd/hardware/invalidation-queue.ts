/**
 * Queued invalidation (facts A.5; VT-d specification “Queued Invalidation Interface”). Descriptors take effect late, in virtual time,
 * and in order; a wait descriptor tells when. A bad descriptor stops the queue at it, with FSTS.IQE, until that is cleared. A device that
 * does not complete an invalidation of its TLB stops it too, with FSTS.ITE: the wait descriptor that it held up is lost.
 */
import type { Clock, ClockTimer } from '@iospace/machine'
import type { RegisterFile } from '../../register-file.ts'
import type { TableMemory } from '../../table-memory.ts'
import type { VtdPersonality, VtdTiming } from '../personalities.ts'
import {
  ContextDescriptor,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_TYPE_MASK,
  DESCRIPTORS_PER_PAGE,
  DescriptorType,
  DeviceTlbDescriptor,
  InterruptDescriptor,
  IotlbDescriptor,
  WaitDescriptor,
} from '../spec/queue.ts'
import {
  ContextCommand,
  FaultStatus,
  Granularity,
  InvalidationAddress,
  QueueAddress,
  QueueError,
  Register,
  WAIT_COMPLETE,
} from '../spec/registers.ts'
import { entryFrame } from '../walk.ts'
import type { VtdCaches } from './caches.ts'
import { DeviceTlbRequests } from './device-tlb.ts'
import type { EventMessage } from './event-message.ts'
import type { FaultLog } from './fault-log.ts'
import type { InterruptRemapper } from './interrupt-remapper.ts'

/** Word 0 of a drained invalidation of pages, and word 2 of one whose directories stay and that is of order 0. */
const DRAINED_PAGE = (Granularity.page << IotlbDescriptor.granularityShift) | IotlbDescriptor.drainWrites
const PAGE_MASK = (3 << IotlbDescriptor.granularityShift) | IotlbDescriptor.drainWrites
const LEAF_MASK = InvalidationAddress.leafOnly | InvalidationAddress.orderMask
// Constants of other modules as this module's own: those are what the compiler folds.
const { queueHead: QUEUE_HEAD, queueTail: QUEUE_TAIL, faultStatus: FAULT_STATUS } = Register
const INVALIDATION_STATUS = Register.invalidationStatus
const { context: CONTEXT, iotlb: IOTLB, wait: WAIT } = DescriptorType
const { interruptEntry: INTERRUPT_ENTRY, deviceTlb: DEVICE_TLB } = DescriptorType
const { domainShift: IOTLB_DOMAIN_SHIFT, reserved0: IOTLB_RESERVED_0, reserved2: IOTLB_RESERVED_2 } = IotlbDescriptor
const { reserved0: WAIT_RESERVED_0, reserved2: WAIT_RESERVED_2, statusWrite: STATUS_WRITE } = WaitDescriptor
const WAIT_INTERRUPT = WaitDescriptor.interrupt
const LEAF_ONLY = InvalidationAddress.leafOnly
const { none: NONE, width: WRONG_WIDTH, tail: WRONG_TAIL, reserved: RESERVED, fetch: NO_FETCH } = QueueError
const TYPE_MASK = DESCRIPTOR_TYPE_MASK
const BYTES = DESCRIPTOR_BYTES
const DESCRIPTOR_SHIFT = Math.log2(DESCRIPTOR_BYTES)
/** QS of a legacy queue of one page is 0; tails are byte offsets. */
const PAGE_BYTES = DESCRIPTORS_PER_PAGE * DESCRIPTOR_BYTES
/** FSTS bits with which nothing is fetched. */
const STOPPED = FaultStatus.queueError | FaultStatus.timeout

export class InvalidationQueue {
  enabled = false
  /** Called before caches forget, on a unit with RWBF. */
  flushWriteBuffer: (() => void) | null = null
  /** Called once when the queue has become empty after {@link whenEmpty}. */
  #whenEmpty: (() => void) | null = null
  declare private readonly registers: RegisterFile
  declare private readonly tables: TableMemory
  declare private readonly timer: ClockTimer
  declare private readonly caches: VtdCaches
  declare private readonly log: FaultLog
  declare private readonly event: EventMessage
  declare private readonly timing: VtdTiming
  declare private readonly remapper: InterruptRemapper
  declare private readonly devices: DeviceTlbRequests
  declare private readonly hasDevices: boolean
  declare private readonly hasInterrupts: boolean
  declare private readonly maxIndexOrder: number
  /** Bits of a domain id, and of the upper half of an I/O address, that the unit has: it ignores others. */
  declare private readonly domainMask: number
  declare private readonly addressMask: number
  #frame = 0
  #wide = false
  #bytes = PAGE_BYTES
  /** Where the next descriptor is, and where the step that is scheduled stops. */
  #head = 0
  #until = 0
  /** A wait that was fetched and waits for devices; its words. */
  #held = false
  readonly #wait = new Int32Array(4)

  constructor(
    registers: RegisterFile,
    tables: TableMemory,
    clock: Clock,
    caches: VtdCaches,
    remapper: InterruptRemapper,
    log: FaultLog,
    event: EventMessage,
    { timing, capabilities }: Pick<VtdPersonality, 'timing' | 'capabilities'>,
  ) {
    this.registers = registers
    this.tables = tables
    this.timer = clock.timer(() => this.#run())
    this.caches = caches
    this.remapper = remapper
    this.log = log
    this.event = event
    this.timing = timing
    this.devices = new DeviceTlbRequests(clock, timing.deviceTlb)
    this.devices.onIdle = () => this.#release()
    this.devices.onTimeout = (requester) => this.#giveUp(requester)
    this.hasDevices = capabilities.deviceTlb
    this.hasInterrupts = capabilities.interruptRemapping
    this.maxIndexOrder = capabilities.maxIndexOrder
    this.domainMask = (1 << capabilities.domainBits) - 1
    this.addressMask = 2 ** (capabilities.addressBits - 32) - 1
    if (!capabilities.queue) return
    registers.define(Register.queueHead, 0)
    registers.define(Register.queueTail, 0, 0x7fff0)
    registers.define(Register.queueAddress, 0, QueueAddress.addressMask | QueueAddress.wide | QueueAddress.sizeMask)
    registers.define(Register.queueAddress + 4, 0, -1)
    registers.define(Register.invalidationStatus, 0, 0, WAIT_COMPLETE)
  }

  /** QIE was set: latches the address register and starts at its beginning. */
  enable(): void {
    const low = this.registers.get(Register.queueAddress)
    this.#frame = (this.registers.get(Register.queueAddress + 4) >>> 0) * 0x10_0000 + (low >>> 12)
    this.#bytes = PAGE_BYTES << (low & QueueAddress.sizeMask)
    this.#wide = (low & QueueAddress.wide) !== 0
    this.#moveHead(0)
    this.enabled = true
    this.start()
  }

  disable(): void {
    this.enabled = false
    this.#moveHead(0)
  }

  /** All that was under way is forgotten. */
  reset(): void {
    this.enabled = false
    this.timer.cancel()
    this.devices.cancel()
    this.#held = false
    this.#head = 0
    this.#whenEmpty = null
  }

  /** A device completed an invalidation of its TLB; unasked, that is FSTS.ICE. */
  deviceCompleted(requester: number): void {
    if (!this.hasDevices || this.devices.complete(requester)) return
    if ((this.registers.get(FAULT_STATUS) & FaultStatus.completionError) === 0)
      this.#recordSource(0xffff, requester << 16)
    this.log.raise(FaultStatus.completionError)
  }

  /** Calls `action` when nothing is left to do: at once, later, or never while the queue is stopped at a bad descriptor. */
  whenEmpty(action: () => void): void {
    if (this.#head === this.registers.get(QUEUE_TAIL) && !this.timer.pending && !this.#held) action()
    else this.#whenEmpty = action
  }

  /** IQA was written: head and tail are 0. */
  rewind(): void {
    if (this.enabled) return
    this.#moveHead(0)
    this.registers.set(QUEUE_TAIL, 0)
  }

  /** The tail moved, or an error was cleared. */
  start(): void {
    const { registers, timer } = this
    const tail = registers.get(QUEUE_TAIL)
    if (!this.enabled || timer.pending || this.#held || this.#head === tail) return
    if ((registers.get(FAULT_STATUS) & STOPPED) !== 0) return
    this.#until = tail
    const waiting = ((tail - this.#head) & (this.#bytes - 1)) >>> DESCRIPTOR_SHIFT
    timer.start(this.timing.queue + this.timing.descriptor * (waiting - 1))
  }

  #run(): void {
    const until = this.#until
    const bytes = this.#bytes
    let head = this.#head
    if (this.flushWriteBuffer !== null) this.flushWriteBuffer()
    while (head !== until) {
      // A tail that is not in the queue is never reached.
      const error = this.#wide ? WRONG_WIDTH : until >= bytes ? WRONG_TAIL : this.#execute(head)
      if (error !== NONE) {
        this.#moveHead(head)
        this.registers.set(Register.queueErrorRecord, error)
        this.log.raise(FaultStatus.queueError)
        return
      }
      head = (head + BYTES) & (bytes - 1)
      if (this.#held) {
        this.#moveHead(head)
        return
      }
    }
    this.#moveHead(head)
    this.#continue()
  }

  // More to do, or the end that somebody waits for.
  #continue(): void {
    if (this.registers.get(QUEUE_TAIL) !== this.#head) this.start()
    else if (this.#whenEmpty !== null) {
      const action = this.#whenEmpty
      this.#whenEmpty = null
      action()
    }
  }

  // Every device has answered: the wait that was held up completes.
  #release(): void {
    if (!this.#held) return
    this.#held = false
    const [flags, data, low, high] = this.#wait as unknown as [number, number, number, number]
    this.#complete(flags, data, high, low)
    this.#continue()
  }

  // A device has not: the wait is lost, and nothing is fetched until software has cleared ITE.
  #giveUp(requester: number): void {
    this.#held = false
    this.timer.cancel()
    this.#recordSource(0xffff_0000 | 0, requester)
    this.log.raise(FaultStatus.timeout)
  }

  // The upper half of IQERCD: what `kept` masks stays.
  #recordSource(kept: number, source: number): void {
    const at = Register.queueErrorRecord + 4
    this.registers.set(at, (this.registers.get(at) & kept) | source)
  }

  #moveHead(head: number): void {
    this.#head = head
    this.registers.set(QUEUE_HEAD, head)
  }

  // A {@link QueueError}.
  #execute(head: number): number {
    const { tables } = this
    const frame = this.#frame + (head >>> 12)
    const half = (head & 0xfff) >>> 3
    const at = tables.entryAt(frame, half)
    if (at < 0 || tables.entryAt(frame, half + 1) < 0) return NO_FETCH
    const { words } = tables
    const low = words[at]!
    const next = words[at | 1]!
    const third = words[at | 2]!
    const fourth = words[at | 3]!
    switch (low & TYPE_MASK) {
      case CONTEXT: {
        if (((low & ContextDescriptor.reserved0) | (next & ContextDescriptor.reserved1) | third | fourth) !== 0)
          return RESERVED
        const granularity = (low >>> ContextDescriptor.granularityShift) & 3
        const functionMask = (next >>> ContextDescriptor.functionMaskShift) & ContextCommand.functionMask
        return check(
          this.caches.invalidateContexts(
            granularity,
            (low >>> ContextDescriptor.domainShift) & this.domainMask,
            next & 0xffff,
            functionMask,
          ) !== Granularity.refused,
        )
      }
      case IOTLB: {
        if (((low & IOTLB_RESERVED_0) | next | (third & IOTLB_RESERVED_2)) !== 0) return RESERVED
        const domain = (low >>> IOTLB_DOMAIN_SHIFT) & this.domainMask
        const hi = fourth & this.addressMask
        if ((low & PAGE_MASK) === DRAINED_PAGE && (third & LEAF_MASK) === LEAF_ONLY)
          return check(this.caches.invalidatePage(domain, hi, third))
        return check(
          this.caches.invalidateIotlb(
            (low >>> IotlbDescriptor.granularityShift) & 3,
            domain,
            hi,
            third & ~0xfff,
            third & InvalidationAddress.orderMask,
            (third & LEAF_ONLY) !== 0,
            (low & IotlbDescriptor.drainWrites) !== 0,
          ) !== Granularity.refused,
        )
      }
      case WAIT:
        if (((low & WAIT_RESERVED_0) | (third & WAIT_RESERVED_2)) !== 0) return RESERVED
        if (this.devices.idle) this.#complete(low, next, fourth, third)
        else {
          this.#wait.set([low, next, third, fourth])
          this.#held = true
        }
        return NONE
      case INTERRUPT_ENTRY:
        return this.hasInterrupts ? this.#forgetInterrupts(low, next, third | fourth) : QueueError.type
      case DEVICE_TLB:
        return this.hasDevices ? this.#askDevice(low, next, third) : QueueError.type
      default:
        return QueueError.type
    }
  }

  #forgetInterrupts(low: number, next: number, upper: number): number {
    const order = low >>> InterruptDescriptor.orderShift
    const byIndex = (low & InterruptDescriptor.byIndex) !== 0
    const reserved = (low & InterruptDescriptor.reserved0) | (next & InterruptDescriptor.reserved1) | upper
    if (reserved !== 0 || (byIndex && order > this.maxIndexOrder)) return RESERVED
    this.remapper.invalidate(byIndex, next & 0xffff, order)
    return NONE
  }

  #askDevice(low: number, next: number, third: number): number {
    const { reserved0, reserved1, reserved2 } = DeviceTlbDescriptor
    if (((low & reserved0) | (next & reserved1) | (third & reserved2)) !== 0) return RESERVED
    this.devices.send(next & 0xffff)
    return NONE
  }

  #complete(flags: number, data: number, hi: number, lo: number): void {
    if ((flags & STATUS_WRITE) !== 0) {
      const { tables } = this
      const at = hi >>> 20 === 0 ? tables.entryAt(entryFrame(hi, lo), (lo & 0xfff) >>> 3) : -1
      if (at >= 0) tables.words[at + ((lo >>> 2) & 1)] = data
    }
    if ((flags & WAIT_INTERRUPT) === 0 || this.registers.get(INVALIDATION_STATUS) !== 0) return
    this.registers.set(INVALIDATION_STATUS, WAIT_COMPLETE)
    this.event.raise()
  }
}

// A value that is reserved, or that the unit does not have.
const check = (done: boolean): number => (done ? NONE : RESERVED)
