/**
 * A disk that another domain serves over a blkif ring (Linux drivers/block/xen-blkfront.c). Each page of a request is granted when it
 * goes out and the grant ended when its response is here, so the back-end never has more than what is under way.
 */
import { BLKIF_MAX_SEGMENTS_PER_REQUEST, BLKIF_OP, BLKIF_RING_SLOTS, BLKIF_RSP, PAGE_SIZE } from '@iospace/abi'
import type { WaitQueue } from '@iospace/machine'
import {
  BlockOp,
  BlockStatus,
  BurstListeners,
  SECTOR_SHIFT,
  SECTOR_SIZE,
  type BlockDevice,
  type BlockRequest,
} from '../../block/block-device.ts'
import { RequestFifo } from '../../block/request-fifo.ts'
import { OWN_PAGES } from '../../dma/scatterlist.ts'
import type { Kernel } from '../../kernel.ts'
import { BLKIF_LAYOUTS, requestWord, statusOf, type BlkifLayout } from '../io/blkif-protocol.ts'
import { FrontRing } from '../io/rings.ts'
import type { KernelBuffer } from '../../memory/kernel-buffer.ts'

const SEGMENTS = BLKIF_MAX_SEGMENTS_PER_REQUEST
const SECTOR_MASK = SECTOR_SIZE - 1

export interface DiskGeometry {
  readonly name: string
  readonly sectors: number
  /** Bytes that mean something. */
  readonly bytes: number
  readonly sectorSize: number
  readonly readonly: boolean
  /** The back-end knows FLUSH_DISKCACHE. */
  readonly canFlush: boolean
}

export class XenDisk implements BlockDevice {
  geometry: DiskGeometry
  readonly maxSegments = SEGMENTS
  readonly maxBytes = SEGMENTS * PAGE_SIZE
  readonly maxSegmentBytes = PAGE_SIZE
  readonly takesGrants = false
  readonly #kernel: Kernel
  readonly #backend: number
  readonly #port: number
  readonly #ring: FrontRing
  readonly #layout: BlkifLayout = BLKIF_LAYOUTS['x86_64-abi']
  /** By request id: who asked, and the references of its pages. */
  readonly #requests: (BlockRequest | null)[] = Array.from({ length: BLKIF_RING_SLOTS }, () => null)
  readonly #refs = new Int32Array(BLKIF_RING_SLOTS * SEGMENTS)
  readonly #freeIds: number[] = Array.from({ length: BLKIF_RING_SLOTS }, (_, id) => id)
  readonly #waiting = new RequestFifo()
  readonly #refused = new RequestFifo()
  readonly #listeners = new BurstListeners()
  readonly #idle: WaitQueue
  /** Responses are being handled: what is queued meanwhile goes out at their end. */
  #inBurst = false
  #dead = false

  /** `page` is the granted ring page, `port` the event channel to domain `backend`. */
  constructor(kernel: Kernel, geometry: DiskGeometry, backend: number, page: KernelBuffer, port: number) {
    this.geometry = geometry
    this.#kernel = kernel
    this.#backend = backend
    this.#port = port
    this.#ring = new FrontRing(kernel.platform.memory, page.pfn, BLKIF_RING_SLOTS, this.#layout.slotSize)
    this.#ring.reset()
    this.#idle = kernel.queue('requests to the disk to end')
    kernel.events.handle(port, () => this.#receive())
  }

  get name(): string {
    return this.geometry.name
  }
  get sectors(): number {
    return this.geometry.sectors
  }
  get bytes(): number {
    return this.geometry.bytes
  }
  get sectorSize(): number {
    return this.geometry.sectorSize
  }
  get readonly(): boolean {
    return this.geometry.readonly
  }

  queue(request: BlockRequest): void {
    request.status = this.#check(request)
    if (request.status !== BlockStatus.ok) this.#refused.push(request)
    else if (!this.#waiting.empty || !this.#send(request)) this.#waiting.push(request)
  }

  commit(): void {
    if (this.#inBurst) return
    this.#push()
    this.#answerRefused()
  }

  onBurst(listener: () => void): () => void {
    return this.#listeners.add(listener)
  }

  /** Waits until nothing is under way. Tasks only. */
  async drain(): Promise<void> {
    while (this.#freeIds.length < BLKIF_RING_SLOTS || !this.#waiting.empty) await this.#idle.wait()
  }

  /**
   * The back-end has let go of the ring, or is gone: answers what is left with an error and ends its grants. How many pages it still
   * has mapped: those are lost.
   */
  abandon(): number {
    this.#dead = true
    let lost = 0
    for (let id = 0; id < BLKIF_RING_SLOTS; id++) {
      const request = this.#requests[id] ?? null
      if (request === null) continue
      lost += this.#endGrants(id, request)
      this.#answer(id, request, BlockStatus.ioError)
    }
    while (!this.#waiting.empty) {
      const request = this.#waiting.shift()
      request.status = BlockStatus.ioError
      request.done(request)
    }
    this.#endBurst()
    return lost
  }

  #check({ op, sector, list }: BlockRequest): number {
    const { sectors, readonly, canFlush } = this.geometry
    if (this.#dead) return BlockStatus.ioError
    if (op === BlockOp.flush) return canFlush ? BlockStatus.ok : BlockStatus.unsupported
    if (op !== BlockOp.read && op !== BlockOp.write) return BlockStatus.unsupported
    if (list.granter !== OWN_PAGES || list.count === 0 || list.count > SEGMENTS) return BlockStatus.invalid
    for (let i = 0; i < list.count; i++) {
      const offset = list.offsets[i]!
      const length = list.lengths[i]!
      if (((offset | length) & SECTOR_MASK) !== 0 || length === 0 || offset + length > PAGE_SIZE)
        return BlockStatus.invalid
    }
    if (sector < 0 || sector + list.bytes / SECTOR_SIZE > sectors) return BlockStatus.invalid
    return op === BlockOp.write && readonly ? BlockStatus.ioError : BlockStatus.ok
  }

  /** False while the ring is full or no grant reference is free. */
  #send(request: BlockRequest): boolean {
    const ring = this.#ring
    const { grants } = this.#kernel
    const { list, op } = request
    const count = op === BlockOp.flush ? 0 : list.count
    if (ring.room === 0 || grants.freeEntries < count) return false
    const id = this.#freeIds.pop()!
    const { words } = ring.memory
    const layout = this.#layout
    const slot = ring.slot(ring.requestsWritten)
    const write = op === BlockOp.write
    words[slot] = requestWord(
      write ? BLKIF_OP.WRITE : op === BlockOp.read ? BLKIF_OP.READ : BLKIF_OP.FLUSH_DISKCACHE,
      count,
    )
    words[slot + layout.id] = id
    words[slot + layout.id + 1] = 0
    words[slot + layout.sector] = count === 0 ? 0 : request.sector
    words[slot + layout.sector + 1] = count === 0 ? 0 : request.sector / 0x1_0000_0000
    for (let i = 0; i < count; i++) {
      const first = list.offsets[i]! >> SECTOR_SHIFT
      const last = first + (list.lengths[i]! >> SECTOR_SHIFT) - 1
      // The back-end writes into what is read, and only reads what is written.
      const ref = grants.grantAccess(this.#backend, list.pages[i]!, write)
      this.#refs[id * SEGMENTS + i] = ref
      const segment = slot + layout.segments + i * layout.segmentWords
      words[segment] = ref
      words[segment + 1] = first | (last << 8)
    }
    request.context = count
    this.#requests[id] = request
    ring.requestsWritten = (ring.requestsWritten + 1) | 0
    return true
  }

  #receive(): void {
    const ring = this.#ring
    const { words } = ring.memory
    const layout = this.#layout
    if (this.#dead) return
    this.#inBurst = true
    do {
      let ready = ring.responses()
      if (ready < 0) {
        this.#broken('its response index is beyond the requests')
        return
      }
      for (; ready > 0; ready--) {
        const slot = ring.slot(ring.responsesRead)
        const id = words[slot + layout.responseId]! >>> 0
        const status = statusOf(words[slot + layout.responseStatus]!)
        ring.responsesRead = (ring.responsesRead + 1) | 0
        const request = id < BLKIF_RING_SLOTS && words[slot + layout.responseId + 1] === 0 ? this.#requests[id]! : null
        if (request === null) {
          this.#broken('it answered a request that was not asked')
          return
        }
        const kept = this.#endGrants(id, request)
        this.#answer(id, request, kept > 0 ? BlockStatus.ioError : statusFrom(status))
        if (kept > 0) {
          this.#broken('it answered a request and still has its pages mapped')
          return
        }
      }
    } while (ring.finalCheck())
    while (!this.#waiting.empty && this.#send(this.#waiting.peek())) this.#waiting.shift()
    this.#endBurst()
  }

  #endBurst(): void {
    this.#listeners.call()
    this.#inBurst = false
    this.#push()
    this.#answerRefused()
    if (this.#freeIds.length === BLKIF_RING_SLOTS) this.#idle.wakeAll()
  }

  /** Pages that the back-end still has mapped: nothing else may be kept in them, ever (XSA-396). */
  #endGrants(id: number, request: BlockRequest): number {
    const { grants, memory } = this.#kernel
    let kept = 0
    for (let i = 0; i < request.context; i++) {
      if (grants.endAccess(this.#refs[id * SEGMENTS + i]!)) continue
      memory.pages.withhold(request.list.pages[i]!)
      kept++
    }
    return kept
  }

  #answer(id: number, request: BlockRequest, status: number): void {
    this.#requests[id] = null
    this.#freeIds.push(id)
    request.status = status
    request.done(request)
  }

  #answerRefused(): void {
    if (this.#refused.empty) return
    while (!this.#refused.empty) {
      const request = this.#refused.shift()
      request.done(request)
    }
    this.#listeners.call()
  }

  #push(): void {
    if (!this.#dead && this.#ring.push()) this.#kernel.events.send(this.#port)
  }

  // A back-end that breaks the ring's rules: nothing that comes over it can be believed any more.
  #broken(text: string): void {
    this.#kernel.log(`${this.name}: the back-end is broken: ${text}`)
    this.abandon()
  }
}

function statusFrom(status: number): number {
  if (status === BLKIF_RSP.OKAY) return BlockStatus.ok
  return status === BLKIF_RSP.EOPNOTSUPP ? BlockStatus.unsupported : BlockStatus.ioError
}
