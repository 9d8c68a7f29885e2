/**
 * Reads a whole disk front to back with many requests under way, hands what arrived to a hash in order, and writes it to a second
 * disk if there is one. Streams: what is held is the requests under way, whatever the disk's size.
 */
import {
  BlockOp,
  BlockRequest,
  BlockStatus,
  SECTOR_SIZE,
  type BlockDevice,
  type Kernel,
  type KernelBuffer,
} from '@iospace/linux'

export interface Hasher {
  update(bytes: Uint8Array): void
  /** Of everything, in hexadecimal. */
  digest(): string
}

export interface CopyOptions {
  readonly source: BlockDevice
  readonly target: BlockDevice | null
  /** Null: what arrives is not looked at. */
  readonly hash: Hasher | null
  /** Called often, with the bytes that have arrived in order. */
  readonly onProgress: (done: number) => void
}

export interface CopyResult {
  /** Bytes that mean something (the last sector may be padded), there and, with a target, back. */
  readonly bytes: number
  readonly requests: number
  /** Why it ended early, as a sentence; null when it did not. */
  readonly problem: string | null
}

/** Pages of one request: as many segments as a blkif request has. */
const PAGES = 11
/** Requests under way: as many as a one-page blkif ring holds. */
const DEPTH = 32
/** Answers that are worth a turn: the disks have enough to do meanwhile, and what is asked next goes out together. */
const BATCH = 8

const SlotState = { free: 0, reading: 1, read: 2, writing: 3 } as const

interface Slot {
  readonly buffer: KernelBuffer
  readonly request: BlockRequest
  state: number
}

/** Copies, or only reads. Tasks only. A problem of the disks or of memory is in the result. */
export async function copyDisk(kernel: Kernel, options: CopyOptions): Promise<CopyResult> {
  return await new Copy(kernel, options).run()
}

class Copy {
  readonly #kernel: Kernel
  readonly #options: CopyOptions
  /** Bytes of one request; a slot for each that can be under way. */
  readonly #chunk: number
  readonly #chunks: number
  readonly #slots: Slot[] = []
  readonly #answers
  #issued = 0
  #consumed = 0
  #underWay = 0
  /** Answers since the task looked last. */
  #fresh = 0
  #bytes = 0
  #requests = 0
  #problem: string | null = null

  constructor(kernel: Kernel, options: CopyOptions) {
    const { source, target } = options
    this.#kernel = kernel
    this.#options = options
    const largest = (device: BlockDevice): number => Math.min(device.maxBytes, device.maxSegments * 4096)
    const chunk = Math.min(PAGES * 4096, largest(source), target === null ? Infinity : largest(target))
    this.#chunk = chunk - (chunk % SECTOR_SIZE)
    this.#chunks = Math.ceil(source.bytes / this.#chunk)
    this.#answers = kernel.queue(`an answer of ${source.name}`)
  }

  async run(): Promise<CopyResult> {
    this.#makeSlots()
    while (this.#consumed < this.#chunks && this.#problem === null) {
      const issued = this.#issue()
      const consumed = this.#consume()
      if (!issued && !consumed) await this.#wait()
    }
    // Also after a problem: memory that a device may still write must stay ours.
    while (this.#underWay > 0) await this.#wait()
    for (const { buffer } of this.#slots) this.#kernel.memory.free(buffer)
    return { bytes: this.#bytes, requests: this.#requests, problem: this.#problem }
  }

  async #wait(): Promise<void> {
    this.#fresh = 0
    await this.#answers.wait()
  }

  #makeSlots(): void {
    for (let i = 0; i < Math.min(DEPTH, this.#chunks); i++) {
      const buffer = this.#kernel.memory.allocate(PAGES * 4096)
      if (buffer === null) break
      const slot: Slot = { buffer, state: SlotState.free, request: new BlockRequest(PAGES, () => this.#answered(slot)) }
      this.#slots.push(slot)
    }
    if (this.#slots.length === 0 && this.#chunks > 0) this.#problem = 'there is no memory for a request'
  }

  /** Asks for what the free slots have room for; false when there is none. */
  #issue(): boolean {
    const { source } = this.#options
    const before = this.#issued
    for (; this.#issued < this.#chunks; this.#issued++) {
      const slot = this.#slots[this.#issued % this.#slots.length]!
      if (slot.state !== SlotState.free) break
      slot.state = SlotState.reading
      this.#send(source, slot, BlockOp.read, this.#issued)
    }
    if (this.#issued === before) return false
    source.commit()
    return true
  }

  /** Takes what has arrived in order; false when the next is still under way. */
  #consume(): boolean {
    const { source, target, hash, onProgress } = this.#options
    const before = this.#consumed
    for (; this.#consumed < this.#issued && this.#problem === null; this.#consumed++) {
      const slot = this.#slots[this.#consumed % this.#slots.length]!
      if (slot.state !== SlotState.read) break
      const length = this.#length(this.#consumed)
      this.#bytes += length
      if (hash !== null) hashPages(hash, slot.buffer, length)
      slot.state = target === null ? SlotState.free : SlotState.writing
      if (target !== null) this.#send(target, slot, BlockOp.write, this.#consumed)
    }
    if (this.#consumed === before) return false
    target?.commit()
    onProgress(Math.min(source.bytes, this.#consumed * this.#chunk))
    return true
  }

  #send(device: BlockDevice, { request, buffer }: Slot, op: number, index: number): void {
    request.op = op
    request.sector = (index * this.#chunk) / SECTOR_SIZE
    request.list.reset()
    request.list.addBuffer(buffer, 0, Math.ceil(this.#length(index) / SECTOR_SIZE) * SECTOR_SIZE)
    this.#requests++
    this.#underWay++
    device.queue(request)
  }

  #answered(slot: Slot): void {
    const { op, status, sector, list } = slot.request
    this.#underWay--
    if (status !== BlockStatus.ok) {
      const what = op === BlockOp.read ? 'read' : 'write'
      this.#problem ??= `the disk could not ${what} ${list.bytes} bytes at ${sector * SECTOR_SIZE} (error ${status})`
    } else if (op === BlockOp.write) {
      this.#bytes += this.#length((sector * SECTOR_SIZE) / this.#chunk)
    }
    slot.state = slot.state === SlotState.reading ? SlotState.read : SlotState.free
    if (++this.#fresh >= BATCH || this.#underWay === 0) this.#answers.wake()
  }

  /** Bytes of chunk `index` that mean something. */
  #length(index: number): number {
    return Math.min(this.#chunk, this.#options.source.bytes - index * this.#chunk)
  }
}

function hashPages(hash: Hasher, buffer: KernelBuffer, length: number): void {
  let left = length
  for (const page of buffer.views()) {
    if (left <= 0) return
    hash.update(left >= page.length ? page : page.subarray(0, left))
    left -= page.length
  }
}
