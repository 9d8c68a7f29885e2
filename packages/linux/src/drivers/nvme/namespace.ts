/**
 * A namespace as a block device. A request is mapped once, becomes one command or several, and is unmapped before it is answered:
 * whoever asked never sees a buffer that the device could still reach.
 */
import { Errno } from '@iospace/abi'
import {
  BlockOp,
  BlockStatus,
  BurstListeners,
  SECTOR_SHIFT,
  SECTOR_SIZE,
  type BlockDevice,
  type BlockRequest,
} from '../../block/block-device.ts'
import { PAGE_SIZE } from '@iospace/machine'
import type { DmaApi } from '../../dma/dma-api.ts'
import { Direction } from '../../dma/direction.ts'
import { RequestFifo } from '../../block/request-fifo.ts'
import { PRP_LIST_ENTRIES, type CommandSlots } from './command-slots.ts'
import type { QueuePair } from './queue-pair.ts'
import { IoOp, Sqe, STATUS_INVALID_OPCODE } from './spec.ts'
import { Transfer } from './transfer.ts'

export interface NamespaceGeometry {
  readonly name: string
  readonly id: number
  /** Logical blocks, and log2 of their bytes (at least 9). */
  readonly blocks: number
  readonly blockShift: number
  readonly readonly: boolean
  /** Bytes of the largest transfer that the controller takes. */
  readonly maxBytes: number
}

const MAX_SEGMENTS = 32

export class NvmeNamespace implements BlockDevice {
  readonly name: string
  readonly sectors: number
  readonly bytes: number
  readonly readonly: boolean
  readonly sectorSize: number
  readonly maxSegments = MAX_SEGMENTS
  readonly maxBytes: number
  readonly maxSegmentBytes: number
  readonly takesGrants: boolean
  readonly #geometry: NamespaceGeometry
  readonly #dma: DmaApi
  readonly #queue: QueuePair
  readonly #slots: CommandSlots
  readonly #words: Int32Array
  readonly #transfer: Transfer
  readonly #maxPages: number
  /** Sectors of a logical block. */
  readonly #blockSectors: number
  /** Request of each command under way; several commands may have one. */
  readonly #requests: (BlockRequest | null)[]
  readonly #waiting = new RequestFifo()
  /** Requests that no command was made of; their status says why. */
  readonly #refused = new RequestFifo()
  readonly #listeners = new BurstListeners()
  /** Called when the first command after a pause goes out. */
  readonly #onBusy: () => void
  /** Answers everything with an error. */
  #dead = false
  /** Commands completed so far. */
  completed = 0
  /** When the command of each id went out, in virtual ns. */
  readonly #since: Float64Array
  readonly #now: () => number

  constructor(
    geometry: NamespaceGeometry,
    dma: DmaApi,
    queue: QueuePair,
    slots: CommandSlots,
    now: () => number,
    onBusy: () => void,
  ) {
    this.#geometry = geometry
    this.#dma = dma
    this.#queue = queue
    this.#slots = slots
    this.#words = queue.submissions.buffer.memory.words
    this.#since = new Float64Array(slots.count)
    this.#now = now
    this.#onBusy = onBusy
    this.#requests = Array.from({ length: slots.count }, () => null)
    this.name = geometry.name
    this.#blockSectors = 2 ** (geometry.blockShift - SECTOR_SHIFT)
    this.sectors = geometry.blocks * this.#blockSectors
    this.bytes = this.sectors * SECTOR_SIZE
    this.readonly = geometry.readonly
    this.sectorSize = 2 ** geometry.blockShift
    this.takesGrants = dma.takesGrants
    this.#maxPages = Math.min(PRP_LIST_ENTRIES, Math.floor(geometry.maxBytes / PAGE_SIZE))
    this.maxSegmentBytes = dma.maxMappingSize()
    this.maxBytes = this.#maxPages * PAGE_SIZE
    this.#transfer = new Transfer(this.#maxPages)
  }

  /** Commands under way. */
  get inFlight(): number {
    return this.#slots.count - this.#slots.freeCount
  }

  /** When the oldest command under way went out, in virtual ns; Infinity without one. Looks at all of them. */
  oldest(): number {
    let oldest = Infinity
    for (let id = 0; id < this.#requests.length; id++)
      if (this.#requests[id] !== null && this.#since[id]! < oldest) oldest = this.#since[id]!
    return oldest
  }

  queue(request: BlockRequest): void {
    const refused = this.#check(request)
    request.status = refused
    if (refused !== BlockStatus.ok) {
      this.#refused.push(request)
    } else if (!this.#waiting.empty || !this.#start(request)) {
      this.#waiting.push(request)
    }
  }

  commit(): void {
    this.#answerRefused()
    this.#queue.ring()
  }

  onBurst(listener: () => void): () => void {
    return this.#listeners.add(listener)
  }

  /** Takes what the controller completed; called from its interrupt. */
  poll(): void {
    const before = this.completed
    this.#queue.poll(this.#onCompletion)
    if (this.completed === before) return
    while (!this.#waiting.empty && this.#start(this.#waiting.peek())) this.#waiting.shift()
    this.#queue.ring()
    while (!this.#refused.empty) answer(this.#refused.shift())
    this.#listeners.call()
  }

  /** Answers everything with an error, now and from now on. Only once the controller does no DMA any more. */
  fail(): void {
    this.#dead = true
    for (let id = 0; id < this.#requests.length; id++)
      if (this.#requests[id] !== null) this.#complete(id, STATUS_OF_DEAD)
    while (!this.#waiting.empty) {
      const request = this.#waiting.shift()
      request.status = BlockStatus.ioError
      if (request.list.mapped !== 0) this.#dma.unmapSg(request.list, direction(request))
      request.done(request)
    }
    this.#listeners.call()
  }

  // Answers always come later than the call: at the commit, or at the end of the burst.
  #answerRefused(): void {
    if (this.#refused.empty) return
    while (!this.#refused.empty) answer(this.#refused.shift())
    this.#listeners.call()
  }

  #check({ op, sector, list }: BlockRequest): number {
    if (this.#dead) return BlockStatus.ioError
    if (op === BlockOp.flush) return BlockStatus.ok
    if (op !== BlockOp.read && op !== BlockOp.write) return BlockStatus.unsupported
    const blockMask = this.sectorSize - 1
    const count = list.bytes / SECTOR_SIZE
    if (list.count === 0 || list.count > MAX_SEGMENTS || list.bytes > this.maxBytes) return BlockStatus.invalid
    if (sector < 0 || sector + count > this.sectors || ((sector * SECTOR_SIZE) & blockMask) !== 0) {
      return BlockStatus.invalid
    }
    // A piece that ends inside a logical block would leave a command that does not move whole blocks.
    for (let i = 0; i < list.count; i++) {
      const length = list.lengths[i]!
      if (length === 0 || length > this.maxSegmentBytes || (length & blockMask) !== 0) return BlockStatus.invalid
    }
    return op === BlockOp.write && this.readonly ? BlockStatus.ioError : BlockStatus.ok
  }

  /** False when there are too few free commands; the request stays mapped meanwhile. */
  #start(request: BlockRequest): boolean {
    const { list } = request
    if (request.op === BlockOp.flush) return this.#startFlush(request)
    if (list.mapped === 0) {
      const mapped = this.#dma.mapSg(list, direction(request))
      if (mapped < 0) {
        // Bounce buffers and I/O addresses come back when something completes.
        if (mapped === -Errno.ENOMEM && this.inFlight > 0) return false
        request.status = BlockStatus.ioError
        this.#refused.push(request)
        return true
      }
    }
    const commands = Transfer.commands(list, this.#maxPages)
    if (commands > this.#slots.freeCount) return false
    if (this.inFlight === 0) this.#onBusy()
    request.context = commands
    const transfer = this.#transfer
    const { blockShift, id: namespace } = this.#geometry
    let block = request.sector / this.#blockSectors
    const now = this.#now()
    transfer.begin(list)
    while (transfer.more) {
      const id = this.#slots.take()
      const at = this.#queue.push()
      const words = this.#words
      this.#requests[id] = request
      this.#since[id] = now
      words[at + Sqe.command] = (request.op === BlockOp.write ? IoOp.write : IoOp.read) | (id << 16)
      words[at + Sqe.namespace] = namespace
      transfer.build(words, at, this.#slots, id)
      const blocks = transfer.bytes >>> blockShift
      words[at + Sqe.cdw10] = block
      words[at + Sqe.cdw11] = block / 0x1_0000_0000
      words[at + Sqe.cdw12] = blocks - 1
      block += blocks
    }
    return true
  }

  #startFlush(request: BlockRequest): boolean {
    if (this.#slots.freeCount === 0) return false
    if (this.inFlight === 0) this.#onBusy()
    request.context = 1
    const id = this.#slots.take()
    const at = this.#queue.push()
    this.#requests[id] = request
    this.#since[id] = this.#now()
    this.#words[at + Sqe.command] = IoOp.flush | (id << 16)
    this.#words[at + Sqe.namespace] = this.#geometry.id
    return true
  }

  readonly #onCompletion = (id: number, status: number): void => this.#complete(id, status)

  #complete(id: number, status: number): void {
    const request = this.#requests[id] ?? null
    // An id that is not under way: a broken controller; there is nobody to answer.
    if (request === null) return
    this.#requests[id] = null
    this.#slots.give(id)
    this.completed++
    if (status !== 0 && request.status === BlockStatus.ok) {
      request.status = status === STATUS_INVALID_OPCODE ? BlockStatus.unsupported : BlockStatus.ioError
    }
    if (--request.context > 0) return
    if (request.op !== BlockOp.flush) this.#dma.unmapSg(request.list, direction(request))
    request.done(request)
  }
}

/** What {@link NvmeNamespace.fail} pretends that the controller said: Aborted due to device failure has no meaning beyond an error. */
const STATUS_OF_DEAD = 0x06

function answer(request: BlockRequest): void {
  request.done(request)
}

function direction(request: BlockRequest): number {
  return request.op === BlockOp.write ? Direction.toDevice : Direction.fromDevice
}
