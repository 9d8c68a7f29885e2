/**
 * Reads a disk from its first byte to its last with several requests under way, hands the bytes over in order, and, if there is a
 * sink, writes them there and flushes. Everything between the first request and the last answer happens in callbacks between tasks:
 * the calling task waits once.
 */
import type { WaitQueue } from '@iospace/machine'
import { StateError } from '@iospace/wire'
import type { Kernel } from '../kernel.ts'
import type { KernelBuffer } from '../memory/kernel-buffer.ts'
import { BlockOp, BlockRequest, BlockStatus, SECTOR_SIZE, submit, type BlockDevice } from './block-device.ts'

export interface StreamOptions {
  /** Requests under way at once; 32 by default, as a blkif ring has slots. */
  readonly depth?: number
  /** Bytes of a request; by default the largest that both devices take. */
  readonly requestBytes?: number
  /** Gets every piece in order: the buffer, and how many of its bytes mean something. It may not wait or keep the buffer. */
  readonly each?: (buffer: KernelBuffer, length: number) => void
  /** Where everything is written too, at the same places. At least as large as the source. */
  readonly sink?: BlockDevice
}

export interface StreamFailure {
  readonly device: string
  /** {@link BlockOp}. */
  readonly op: number
  /** First byte and bytes of the request. */
  readonly offset: number
  readonly bytes: number
}

export interface StreamResult {
  /** {@link BlockStatus}: ok, or why it stopped. */
  readonly status: number
  /** The request that failed; null when all went well. */
  readonly failed: StreamFailure | null
  /** Bytes handed over. */
  readonly bytes: number
  /** Of those, bytes that the sink has written. */
  readonly written: number
  /** Requests answered well, both devices' and the flush. */
  readonly requests: number
}

/** Streams all of `source`. Tasks only. */
export async function streamBlocks(
  kernel: Kernel,
  source: BlockDevice,
  options: StreamOptions = {},
): Promise<StreamResult> {
  const stream = new Stream(kernel, source, options)
  try {
    return await stream.run()
  } finally {
    stream.free()
  }
}

/** A buffer on its way round: read, handed over, written, read again. */
interface Piece {
  readonly buffer: KernelBuffer
  readonly read: BlockRequest
  readonly write: BlockRequest
  offset: number
  /** Its bytes are here, and its turn has not come. */
  arrived: boolean
}

class Stream {
  readonly #kernel: Kernel
  readonly #source: BlockDevice
  readonly #sink: BlockDevice | null
  readonly #each: (buffer: KernelBuffer, length: number) => void
  readonly #requestBytes: number
  readonly #depth: number
  readonly #pieces: Piece[] = []
  /** Pieces in the order in which they were asked for, a ring as long as there are pieces; and whose turn it is to be handed over. */
  readonly #order: Piece[] = []
  #turn = 0
  readonly #finished: WaitQueue
  readonly #stops: (() => void)[] = []
  /** First byte that was not asked for, and first byte that was not handed over. */
  #asked = 0
  #handed = 0
  #written = 0
  #underWay = 0
  #requests = 0
  #status: number = BlockStatus.ok
  #failed: StreamResult['failed'] = null

  constructor(kernel: Kernel, source: BlockDevice, { depth = 32, requestBytes, each, sink }: StreamOptions) {
    const largest = Math.min(
      source.maxBytes,
      source.maxSegments * 4096,
      sink?.maxBytes ?? Infinity,
      (sink?.maxSegments ?? Infinity) * 4096,
    )
    this.#kernel = kernel
    this.#source = source
    this.#sink = sink ?? null
    this.#each = each ?? ((): void => {})
    this.#requestBytes = Math.max(SECTOR_SIZE, Math.floor(Math.min(requestBytes ?? largest, largest) / 4096) * 4096)
    this.#depth = depth
    this.#finished = kernel.queue(`the end of reading ${source.name}`)
  }

  async run(): Promise<StreamResult> {
    this.#allocate()
    this.#stops.push(this.#source.onBurst(() => this.#burst()))
    if (this.#sink !== null) this.#stops.push(this.#sink.onBurst(() => this.#burst()))
    for (const piece of this.#pieces) this.#ask(piece)
    this.#source.commit()
    while (this.#underWay > 0) await this.#finished.wait()
    const wrote = this.#sink !== null && this.#written > 0
    if (wrote && this.#status === BlockStatus.ok) await this.#flush(this.#sink!)
    return {
      status: this.#status,
      failed: this.#failed,
      bytes: this.#handed,
      written: this.#written,
      requests: this.#requests,
    }
  }

  free(): void {
    for (const stop of this.#stops) stop()
    // A killed task leaves requests under way: their buffers must not be used for anything else.
    if (this.#underWay === 0) for (const { buffer } of this.#pieces) this.#kernel.memory.free(buffer)
  }

  #allocate(): void {
    const wanted = Math.min(this.#depth, Math.ceil(this.#source.bytes / this.#requestBytes))
    while (this.#pieces.length < wanted) {
      const buffer = this.#kernel.memory.allocate(this.#requestBytes)
      if (buffer === null) break
      const piece: Piece = {
        buffer,
        read: new BlockRequest(buffer.pages, () => this.#readDone(piece)),
        write: new BlockRequest(buffer.pages, () => this.#writeDone(piece)),
        offset: 0,
        arrived: false,
      }
      piece.write.op = BlockOp.write
      this.#pieces.push(piece)
    }
    if (wanted > 0 && this.#pieces.length === 0)
      throw new StateError(this.#kernel.name, `has no ${this.#requestBytes} bytes of memory for a request`)
  }

  #ask(piece: Piece): void {
    if (this.#asked >= this.#source.bytes || this.#status !== BlockStatus.ok) return
    piece.offset = this.#asked
    piece.read.sector = this.#asked / SECTOR_SIZE
    fill(piece.read, piece.buffer, this.#bytesAt(this.#asked))
    this.#order[(this.#asked / this.#requestBytes) % this.#pieces.length] = piece
    this.#asked += this.#requestBytes
    this.#underWay++
    this.#source.queue(piece.read)
  }

  /** Whole sectors of the request at `offset`. */
  #bytesAt(offset: number): number {
    return Math.min(
      this.#requestBytes,
      this.#source.sectors * SECTOR_SIZE - offset,
      Math.ceil((this.#source.bytes - offset) / SECTOR_SIZE) * SECTOR_SIZE,
    )
  }

  #readDone(piece: Piece): void {
    if (piece.read.status !== BlockStatus.ok) {
      this.#fail(this.#source, piece.read)
      return
    }
    this.#requests++
    piece.arrived = true
    for (;;) {
      const next = this.#order[this.#turn % this.#order.length]!
      if (!next.arrived) break
      this.#turn++
      this.#hand(next)
    }
  }

  #hand(piece: Piece): void {
    piece.arrived = false
    const length = this.#length(piece)
    if (this.#status !== BlockStatus.ok) {
      this.#underWay--
      return
    }
    this.#each(piece.buffer, length)
    this.#handed += length
    if (this.#sink === null) {
      this.#ended(piece)
      return
    }
    piece.write.sector = piece.read.sector
    fill(piece.write, piece.buffer, piece.read.list.bytes)
    this.#sink.queue(piece.write)
  }

  #writeDone(piece: Piece): void {
    if (piece.write.status !== BlockStatus.ok) {
      this.#fail(this.#sink!, piece.write)
      return
    }
    this.#requests++
    this.#written += this.#length(piece)
    this.#ended(piece)
  }

  #ended(piece: Piece): void {
    this.#underWay--
    this.#ask(piece)
  }

  /** Bytes of a piece that mean something. */
  #length({ offset }: Piece): number {
    return Math.min(this.#requestBytes, this.#source.bytes - offset)
  }

  #fail({ name }: BlockDevice, { status, op, sector, list }: BlockRequest): void {
    if (this.#status === BlockStatus.ok) {
      this.#status = status
      this.#failed = { device: name, op, offset: sector * SECTOR_SIZE, bytes: list.bytes }
    }
    this.#underWay--
  }

  #burst(): void {
    // After a failure pieces that arrived out of turn are nobody's.
    if (this.#status !== BlockStatus.ok) {
      for (const piece of this.#pieces) {
        if (!piece.arrived) continue
        piece.arrived = false
        this.#underWay--
      }
    }
    this.#source.commit()
    this.#sink?.commit()
    if (this.#underWay === 0) this.#finished.wake()
  }

  async #flush(sink: BlockDevice): Promise<void> {
    const request = new BlockRequest(1, () => {})
    request.op = BlockOp.flush
    this.#status = await submit(this.#kernel, sink, request)
    if (this.#status === BlockStatus.ok) this.#requests++
    else this.#failed = { device: sink.name, op: BlockOp.flush, offset: 0, bytes: 0 }
  }
}

function fill({ list }: BlockRequest, buffer: KernelBuffer, bytes: number): void {
  list.reset()
  list.addBuffer(buffer, 0, bytes)
}
