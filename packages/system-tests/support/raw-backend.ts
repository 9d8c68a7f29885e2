/**
 * A back-end written by an attacker who owns the driver domain: it connects to front-ends by the rules, then answers whatever a test
 * wants, maps what it is granted, and keeps it as long as it likes. Nothing of blkback is in it, and there is no disk.
 */
import {
  BLKIF_RING_SLOTS,
  blkif_request,
  blkif_response,
  GNTMAP,
  PAGE_SIZE,
  ring_header,
  ringOffset,
  XENBUS_STATE,
} from '@iospace/abi'
import { shutdownRequest, type Kernel, type KernelBuffer } from '@iospace/linux'
import { mapGrant, unmapGrant, type MapResult } from './raw-grants.ts'
import { XVDA } from './raw-frontend.ts'

export type BackRequest = ReturnType<typeof blkif_request.zero>

export interface Lies {
  /** Called for each request, once. */
  readonly onRequest: (back: RawBackend, request: BackRequest) => void
  /** Nodes in the back-end's folder, instead of an honest disk of 400 sectors. */
  readonly nodes?: Readonly<Record<string, string | number>>
  /** Never says that it is closed. */
  readonly staysOpen?: boolean
}

const HONEST = {
  sectors: 400,
  'sector-size': 512,
  'physical-sector-size': 512,
  info: 0,
  'feature-flush-cache': 1,
} as const

export class RawBackend {
  readonly kernel: Kernel
  readonly frontend: number
  readonly path: string
  readonly #lies: Lies
  #ring: KernelBuffer | null = null
  #map: MapResult | null = null
  #port = -1
  consumed = 0
  produced = 0

  constructor(kernel: Kernel, frontend: number, lies: Lies) {
    this.kernel = kernel
    this.frontend = frontend
    this.path = `backend/vbd/${frontend}/${XVDA}`
    this.#lies = lies
  }

  /** Connects, lies, and closes with the front-end. */
  async serve(): Promise<void> {
    const { kernel, path } = this
    const { xenstore } = kernel
    const front = await this.#wait(path, () => xenstore.read(`${path}/frontend`))
    for (const [name, value] of Object.entries({ ...HONEST, ...this.#lies.nodes }))
      await xenstore.write(`${path}/${name}`, value)
    await xenstore.write(`${path}/state`, XENBUS_STATE.InitWait)
    const state = (): Promise<number | undefined> => xenstore.readNumber(`${front}/state`)
    await this.#wait(`${front}/state`, async () => (await state()) === XENBUS_STATE.Initialised || undefined)
    this.#map = mapGrant(kernel, this.frontend, (await xenstore.readNumber(`${front}/ring-ref`))!)
    this.#ring = kernel.memory.window(this.#map.pfn)
    this.#port = kernel.events.bindInterdomain(this.frontend, (await xenstore.readNumber(`${front}/event-channel`))!)
    kernel.events.handle(this.#port, () => this.#take())
    await xenstore.write(`${path}/state`, XENBUS_STATE.Connected)
    await this.#wait(`${front}/state`, async () => {
      const now = (await state()) ?? XENBUS_STATE.Closed
      return now === XENBUS_STATE.Closing || now === XENBUS_STATE.Closed || undefined
    })
    if (this.#lies.staysOpen === true) return
    kernel.events.close(this.#port)
    unmapGrant(kernel, this.#map.handle, this.#map.pfn)
    this.#ring = null
    await xenstore.write(`${path}/state`, XENBUS_STATE.Closed)
  }

  /** Writes a response and publishes it. */
  answer(id: bigint, operation: number, status: number): void {
    if (this.#ring === null) return
    this.#ring.writeStruct(blkif_response, { id, operation, status }, at(this.produced))
    this.publish(++this.produced)
  }

  /** Sets rsp_prod, whatever it is, and sends the event. */
  publish(producer: number): void {
    this.#ring?.write32(ring_header.offsets.rsp_prod, producer >>> 0)
    this.kernel.events.send(this.#port)
  }

  /** Maps the page of segment `index` for this domain's CPU, for as long as it likes. */
  keep(request: BackRequest, index: number): KernelBuffer {
    const { status, pfn } = mapGrant(this.kernel, this.frontend, request.seg[index]!.gref, { flags: GNTMAP.host_map })
    if (status !== 0) throw new Error(`the lying back-end cannot map what it was granted: ${status}`)
    return this.kernel.memory.window(pfn, PAGE_SIZE)
  }

  #take(): void {
    const ring = this.#ring
    if (ring === null) return
    while (this.consumed !== ring.read32(ring_header.offsets.req_prod)) {
      const request = ring.readStruct(blkif_request, at(this.consumed))
      this.consumed = (this.consumed + 1) >>> 0
      ring.write32(ring_header.offsets.req_event, this.consumed + 1)
      this.#lies.onRequest(this, request)
    }
  }

  /** Looks at each change of `node` until `look` sees what it wants. */
  async #wait<T>(node: string, look: () => Promise<T | undefined>): Promise<T> {
    const { kernel } = this
    const changed = kernel.queue(`a change of ${node}`)
    let dirty = true
    const watch = await kernel.xenstore.watch(node, () => {
      dirty = true
      changed.wakeAll()
    })
    for (;;) {
      while (!dirty) await changed.wait()
      dirty = false
      const value = await look()
      if (value === undefined) continue
      await watch?.remove()
      return value
    }
  }
}

const at = (index: number): number => ringOffset(index, BLKIF_RING_SLOTS, blkif_request.size)

/** A driver domain that lies to every front-end of `frontends`, until it is told to stop. */
export function lyingDriver(lies: Lies, frontends: readonly number[]): (kernel: Kernel) => Promise<void> {
  return async (kernel) => {
    for (const frontend of frontends) {
      kernel.spawn(`liar-${frontend}`, () => new RawBackend(kernel, frontend, lies).serve(), { daemon: true })
    }
    await shutdownRequest(kernel)
  }
}
