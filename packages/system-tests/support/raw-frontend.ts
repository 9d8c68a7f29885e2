/**
 * A front-end written by an attacker: it speaks blkif through grants, an event channel and xenstore, and writes into the ring whatever a
 * test wants there. Nothing of blkfront is in it.
 */
import {
  BLKIF_OP,
  BLKIF_RING_SLOTS,
  blkif_request,
  blkif_response,
  ring_header,
  ringOffset,
  XENBUS_STATE,
} from '@iospace/abi'
import type { Kernel, KernelBuffer } from '@iospace/linux'
import type { ValueOf } from '@iospace/wire'

type Request = ReturnType<typeof blkif_request.zero>

export interface Segment {
  readonly ref: number
  readonly first: number
  readonly last: number
}

export interface RawRequest {
  readonly operation?: number
  readonly segments?: readonly Segment[]
  /** Instead of the number of {@link segments}. */
  readonly count?: number
  readonly sector?: bigint
  readonly id?: bigint
}

export interface RawResponse {
  readonly id: bigint
  readonly operation: number
  readonly status: number
}

export interface RawOptions {
  /** Number of the disk; xvda by default. */
  readonly disk?: number
  /** What to tell the back-end instead of the truth. */
  readonly ringRef?: number | string
  readonly port?: number | string
  readonly protocol?: string
}

export const XVDA = 51712
export const XVDB = 51728
/** Virtual ns after which a back-end that has not answered will not. */
const PATIENCE = 20e6
const POLL = 10e3

export class RawFrontend {
  readonly kernel: Kernel
  readonly path: string
  readonly backendPath: string
  readonly backend: number
  readonly ring: KernelBuffer
  readonly ringRef: number
  readonly port: number
  /** Requests published, and responses taken, by an honest count. */
  produced = 0
  consumed = 0
  #nextId = 100n

  private constructor(kernel: Kernel, path: string, backendPath: string, backend: number) {
    this.kernel = kernel
    this.path = path
    this.backendPath = backendPath
    this.backend = backend
    this.ring = page(kernel)
    this.ringRef = kernel.grants.grantAccess(backend, this.ring.pfn, false)
    this.port = kernel.events.allocUnbound(backend)
    kernel.events.handle(this.port, () => undefined)
  }

  /** Publishes a ring and waits until the back-end has connected to it, or refused. */
  static async open(
    kernel: Kernel,
    { disk = XVDA, ringRef, port, protocol = 'x86_64-abi' }: RawOptions = {},
  ): Promise<RawFrontend> {
    const path = `device/vbd/${disk}`
    const { xenstore } = kernel
    const backendPath = (await xenstore.read(`${path}/backend`))!
    const raw = new RawFrontend(kernel, path, backendPath, (await xenstore.readNumber(`${path}/backend-id`))!)
    raw.ring.write32(ring_header.offsets.req_event, 1)
    raw.ring.write32(ring_header.offsets.rsp_event, 1)
    await raw.waitForBackend(XENBUS_STATE.InitWait)
    await xenstore.write(`${path}/ring-ref`, ringRef ?? raw.ringRef)
    await xenstore.write(`${path}/event-channel`, port ?? raw.port)
    await xenstore.write(`${path}/protocol`, protocol)
    await xenstore.write(`${path}/state`, XENBUS_STATE.Initialised)
    await raw.waitForBackend(XENBUS_STATE.Connected, XENBUS_STATE.Closed)
    return raw
  }

  /** XENBUS_STATE of the back-end. */
  async backendState(): Promise<number> {
    return (await this.kernel.xenstore.readNumber(`${this.backendPath}/state`)) ?? XENBUS_STATE.Unknown
  }

  /** Waits for one of `states`; which state it is when that came, or when patience ended. */
  async waitForBackend(...states: number[]): Promise<number> {
    const deadline = this.kernel.now() + PATIENCE
    for (;;) {
      const state = await this.backendState()
      if (states.includes(state) || this.kernel.now() > deadline) return state
      await this.kernel.sleep(POLL)
    }
  }

  /** What the back-end says is wrong with this front-end. */
  backendError(): Promise<string | undefined> {
    return this.kernel.xenstore.read(`${this.backendPath}/error`)
  }

  /** Writes a request into the slot of `index` without publishing it; its id. */
  put(
    index: number,
    { operation = BLKIF_OP.READ, segments = [], count, sector = 0n, id = this.#nextId++ }: RawRequest,
  ): bigint {
    const zero = blkif_request.zero() as Request & { seg: ValueOf<typeof blkif_request.fields>['seg'] }
    const seg = zero.seg.map((empty, i) => {
      const segment = segments[i]
      return segment === undefined ? empty : { gref: segment.ref, first_sect: segment.first, last_sect: segment.last }
    })
    const value = { ...zero, operation, nr_segments: count ?? segments.length, id, sector_number: sector, seg }
    this.ring.writeStruct(blkif_request, value, slot(index))
    return id
  }

  /** Sets req_prod, whatever it is, and sends the event. */
  publish(producer: number): void {
    this.ring.write32(ring_header.offsets.req_prod, producer >>> 0)
    this.kernel.events.send(this.port)
  }

  get responseProducer(): number {
    return this.ring.read32(ring_header.offsets.rsp_prod)
  }

  /** Responses that have come since the last call. */
  take(): RawResponse[] {
    const responses: RawResponse[] = []
    for (; this.consumed !== this.responseProducer; this.consumed = (this.consumed + 1) >>> 0) {
      const { id, operation, status } = this.ring.readStruct(blkif_response, slot(this.consumed))
      responses.push({ id, operation, status })
    }
    this.ring.write32(ring_header.offsets.rsp_event, this.consumed + 1)
    return responses
  }

  /** Publishes requests by the rules; their responses, as far as they come. */
  async ask(...requests: RawRequest[]): Promise<RawResponse[]> {
    for (const request of requests) this.put(this.produced++, request)
    this.publish(this.produced)
    return await this.responses(requests.length)
  }

  /** Waits for `count` responses; those that came. */
  async responses(count: number): Promise<RawResponse[]> {
    const deadline = this.kernel.now() + PATIENCE
    const got: RawResponse[] = []
    for (;;) {
      got.push(...this.take())
      if (got.length >= count || this.kernel.now() > deadline) return got
      await this.kernel.sleep(POLL)
    }
  }

  /** A page of this domain's and a grant of it to the back-end. */
  lend(readonly = false, domid: number = this.backend): { readonly page: KernelBuffer; readonly ref: number } {
    const buffer = page(this.kernel)
    return { page: buffer, ref: this.kernel.grants.grantAccess(domid, buffer.pfn, readonly) }
  }

  /** A well-formed read of the first sectors: true when it succeeds and brings bytes. */
  async works(): Promise<boolean> {
    const { page: buffer, ref } = this.lend()
    const [response] = await this.ask({ segments: [{ ref, first: 0, last: 7 }] })
    const bytes = buffer.read(0, new Uint8Array(4096))
    return response?.status === 0 && bytes.some((byte) => byte !== 0)
  }
}

/** Byte offset of a slot in the ring page. */
export const slot = (index: number): number => ringOffset(index, BLKIF_RING_SLOTS, blkif_request.size)

/** A fresh page; an error when there is none left. */
export function page(kernel: Kernel): KernelBuffer {
  const buffer = kernel.memory.allocate(4096)
  if (buffer === null) throw new Error('the attacker has no page left')
  return buffer
}
