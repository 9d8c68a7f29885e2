/** A block device over an array: answers later, in any order that the test wants, and can be told to fail. */
import { BlockOp, BlockStatus, SECTOR_SIZE, type BlockDevice, type BlockRequest, type Kernel } from '../../src/index.ts'

export class MemoryDisk implements BlockDevice {
  readonly name = 'disk'
  readonly readonly: boolean
  readonly sectorSize = SECTOR_SIZE
  readonly maxSegments = 32
  readonly maxBytes = 32 * 4096
  readonly maxSegmentBytes = 4096
  readonly takesGrants = false
  readonly contents: Uint8Array
  /** Operations in the order in which they were carried out: `write 8+16`, `flush`. */
  readonly log: string[] = []
  /** What the next requests are answered with. */
  nextStatus: number = BlockStatus.ok
  /** Holds answers back until it is false again and {@link release} is called. */
  held = false
  /** Answers in reverse order. */
  reversed = false
  readonly #kernel: Kernel
  readonly #queued: BlockRequest[] = []
  readonly #listeners = new Set<() => void>()

  constructor(kernel: Kernel, contents: Uint8Array, readonly = false) {
    this.#kernel = kernel
    this.contents = contents
    this.readonly = readonly
  }

  get sectors(): number {
    return Math.ceil(this.contents.length / SECTOR_SIZE)
  }

  get bytes(): number {
    return this.contents.length
  }

  queue(request: BlockRequest): void {
    this.#queued.push(request)
  }

  commit(): void {
    if (!this.held && this.#queued.length > 0) this.#kernel.platform.tasks.interrupt(() => this.release())
  }

  onBurst(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Carries out and answers everything that is queued. */
  release(): void {
    const requests = this.#queued.splice(0)
    for (const request of this.reversed ? requests.reverse() : requests) {
      request.status = this.nextStatus
      if (request.status === BlockStatus.ok) this.#carryOut(request)
      request.done(request)
    }
    for (const listener of this.#listeners) listener()
  }

  #carryOut({ op, sector, list }: BlockRequest): void {
    if (op === BlockOp.flush) {
      this.log.push('flush')
      return
    }
    const { bytes, frameOffset } = this.#kernel.platform.memory
    let at = sector * SECTOR_SIZE
    for (let i = 0; i < list.count; i++) {
      const there = frameOffset(list.pages[i]!) + list.offsets[i]!
      const length = list.lengths[i]!
      if (op === BlockOp.read) bytes.set(this.contents.subarray(at, at + length), there)
      else this.contents.set(bytes.subarray(there, there + length), at)
      at += length
    }
    this.log.push(`${op === BlockOp.read ? 'read' : 'write'} ${sector}+${list.bytes / SECTOR_SIZE}`)
  }
}
