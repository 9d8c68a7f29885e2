/**
 * The software side of the invalidation queue: descriptors gather in memory, one tail write and one wait descriptor complete them all.
 * A descriptor that the unit refuses, and a unit that does not answer, end in timedOut; nothing that waits for the invalidation may
 * be freed then.
 */
import { DriverStatus, type DriverPort } from '../../iommu-driver.ts'
import {
  ContextDescriptor,
  DESCRIPTOR_BYTES,
  DESCRIPTORS_PER_PAGE,
  DescriptorType,
  InterruptDescriptor,
  IotlbDescriptor,
  WaitDescriptor,
} from '../spec/queue.ts'
import { FaultStatus, Granularity, InvalidationAddress, Register } from '../spec/registers.ts'

/** Polls of the status word between two looks at the fault status register, which cost much more. */
const POLLS_PER_CHECK = 16

/** Byte offset in the page of the status word of one that is written in vain. */
const SPARE_WORD = 8

const LEAF_PAGE =
  DescriptorType.iotlb |
  (Granularity.page << IotlbDescriptor.granularityShift) |
  IotlbDescriptor.drainReads |
  IotlbDescriptor.drainWrites

// Constants of other modules as this module's own: those are what the compiler folds.
const OK = DriverStatus.ok
const RING = DESCRIPTORS_PER_PAGE
const DESCRIPTOR = DESCRIPTOR_BYTES
const DOMAIN_SHIFT = IotlbDescriptor.domainShift
const LEAF_ONLY = InvalidationAddress.leafOnly
const { queueTail: QUEUE_TAIL, faultStatus: FAULT_STATUS } = Register
const STOPPED = FaultStatus.queueError | FaultStatus.timeout
const WAIT = DescriptorType.wait | WaitDescriptor.statusWrite | WaitDescriptor.fence

export class DriverQueue {
  /** Page of the descriptors, page of the status word. */
  declare readonly frame: number
  declare readonly statusFrame: number
  /** The unit caches interrupt remapping entries. */
  remapsInterrupts = false
  declare private readonly port: DriverPort
  declare private readonly base: number
  declare private readonly timeout: number
  #tail = 0
  /** Descriptors since the unit last answered: the ring must not overtake itself. */
  #pending = 0
  /** A descriptor found no room, or may have been dropped: the unit must forget everything before anything is complete. */
  #lost = false
  #sequence = 0
  /** Virtual ns until which the unit must answer; a double in a typed array is not boxed. */
  readonly #deadline = new Float64Array(1)

  constructor(port: DriverPort, base: number, frame: number, statusFrame: number, timeout: number) {
    this.port = port
    this.base = base
    this.frame = frame
    this.statusFrame = statusFrame
    this.timeout = timeout
  }

  /** Everything that the unit caches of contexts: all, or one requester's entry that names `domain`. */
  contexts(granularity: number, domain: number, requester: number): number {
    return this.#push(
      DescriptorType.context |
        (granularity << ContextDescriptor.granularityShift) |
        (domain << ContextDescriptor.domainShift),
      requester,
      0,
      0,
    )
  }

  /** Translations: all, a domain's, or the 2^`order` pages at (`hi`:`lo`) of one. Reads and writes on their way are drained. */
  translations(granularity: number, domain: number, hi: number, lo: number, order: number, leafOnly: boolean): number {
    return this.#push(
      DescriptorType.iotlb |
        (granularity << IotlbDescriptor.granularityShift) |
        IotlbDescriptor.drainReads |
        IotlbDescriptor.drainWrites |
        (domain << IotlbDescriptor.domainShift),
      0,
      (lo & ~0xfff) | (leafOnly ? InvalidationAddress.leafOnly : 0) | order,
      hi,
    )
  }

  /** The same for one page, leaf entries only. */
  page(domain: number, hi: number, lo: number): number {
    if (this.#pending < RING - 2) {
      this.#store(LEAF_PAGE | (domain << DOMAIN_SHIFT), 0, (lo & ~0xfff) | LEAF_ONLY, hi)
      return OK
    }
    return this.translations(Granularity.page, domain, hi, lo, 0, true)
  }

  /** Interrupt remapping entry `index`; all of them below 0. */
  interrupts(index: number): number {
    return this.#push(
      DescriptorType.interruptEntry | (index < 0 ? 0 : InterruptDescriptor.byIndex),
      index < 0 ? 0 : index,
      0,
      0,
    )
  }

  /** Waits until all that was pushed has taken effect: ok or timedOut. */
  complete(): number {
    if (this.#pending === 0) return OK
    this.#deadline[0] = this.port.now() + this.timeout
    const full = this.#pending > RING - 2
    if (!(this.#lost || full ? this.#catchUp() : this.#wait())) return DriverStatus.timedOut
    this.#pending = 0
    this.#lost = false
    return OK
  }

  #push(word0: number, word1: number, word2: number, word3: number): number {
    // One slot stays free so that a full ring differs from an empty one, one is for the wait.
    if (this.#pending >= DESCRIPTORS_PER_PAGE - 2) {
      const status = this.complete()
      if (status !== DriverStatus.ok) {
        this.#lost = true
        return status
      }
    }
    this.#store(word0, word1, word2, word3)
    return DriverStatus.ok
  }

  #store(word0: number, word1: number, word2: number, word3: number): void {
    this.port.storeCoherent128(this.frame, this.#tail * 2, word1, word0, word3, word2)
    this.#tail = (this.#tail + 1) & (RING - 1)
    this.#pending++
  }

  #wait(): boolean {
    const { port, statusFrame } = this
    const sequence = (this.#sequence = (this.#sequence + 1) | 0)
    this.#store(WAIT, sequence, statusFrame << 12, statusFrame >>> 20)
    port.write32(this.base + QUEUE_TAIL, this.#tail * DESCRIPTOR)
    for (let poll = 1; port.loadLow(statusFrame, 0) !== sequence; poll++) {
      if (poll % POLLS_PER_CHECK === 0) {
        const error = port.read32(this.base + FAULT_STATUS) & STOPPED
        if (error !== 0) return this.#recover(error)
        if (port.now() > this.#deadline[0]!) return false
      }
      port.relax()
    }
    return true
  }

  // The queue stopped: at a bad descriptor, so memory of ours was damaged, or because a device did not answer, and our wait is lost. Make the
  // bad slot harmless, go on, and forget everything to make up for what may not have been done.
  #recover(error: number): boolean {
    const port = this.port
    if ((error & FaultStatus.queueError) !== 0) this.#repair()
    port.write32(this.base + Register.faultStatus, error)
    if (this.#pending > DESCRIPTORS_PER_PAGE - 5) {
      this.#lost = true
      return false
    }
    this.#everything()
    return this.#wait()
  }

  // Lets the ring run empty first, over whatever stops it, so that there is room to forget everything.
  #catchUp(): boolean {
    const { port, base } = this
    const end = this.#tail * DESCRIPTOR
    port.write32(base + QUEUE_TAIL, end)
    while (port.read32(base + Register.queueHead) !== end) {
      const error = port.read32(base + FAULT_STATUS) & STOPPED
      if ((error & FaultStatus.queueError) !== 0) this.#repair()
      if (error !== 0) port.write32(base + FAULT_STATUS, error)
      if (port.now() > this.#deadline[0]!) return false
      port.relax()
    }
    this.#pending = 0
    this.#everything()
    return this.#wait()
  }

  #everything(): void {
    this.contexts(Granularity.global, 0, 0)
    this.translations(Granularity.global, 0, 0, 0, 0, false)
    if (this.remapsInterrupts) this.interrupts(-1)
  }

  #repair(): void {
    const port = this.port
    const bad = port.read32(this.base + Register.queueHead) / DESCRIPTOR_BYTES
    // QEMU refuses a wait that neither writes nor interrupts: this one writes a word that nobody reads.
    const harmless = DescriptorType.wait | WaitDescriptor.statusWrite | WaitDescriptor.fence
    port.storeCoherent128(
      this.frame,
      bad * 2,
      0,
      harmless,
      this.statusFrame >>> 20,
      (this.statusFrame << 12) | SPARE_WORD,
    )
  }
}
