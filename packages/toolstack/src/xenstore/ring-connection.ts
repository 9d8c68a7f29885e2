/**
 * A domain's connection: messages out of the request ring of its xenstore page, answers and events into the response ring. The page
 * is the domain's: every index is checked, every message is copied out before it is looked at, and a domain that breaks the protocol
 * loses its connection and nothing else (xenstore-ring.txt).
 */
import { XENSTORE, XENSTORE_ERROR, xenstore_domain_interface, XS, xsd_sockmsg } from '@iospace/abi'
import { ByteRing, type KernelBuffer } from '@iospace/linux'
import type { Connection, Outbox } from './connection.ts'
import { encodeMessage, watchEvent, type Message } from './message.ts'
import type { Answer } from './requests.ts'
import { textOf } from './text.ts'

const { offsets, words } = xenstore_domain_interface
const HEADER = xsd_sockmsg.size

/** Answers one request: {@link Xenstore.request}. */
export type Serve = (connection: Connection, type: number, transaction: number, payload: string) => Answer

export class RingConnection implements Outbox {
  readonly #page: KernelBuffer
  readonly #requests: ByteRing
  readonly #responses: ByteRing
  readonly #notify: () => void
  readonly #serve: Serve
  readonly #pendingEvents: number
  readonly #connection: Connection
  /** Received bytes that are not a whole message yet: at most a header and a payload. */
  #received = new Uint8Array(0)
  /** Messages that do not fit the response ring yet; `#sent` bytes of the first are in it. */
  readonly #queue: { readonly bytes: Uint8Array; readonly event: string | null }[] = []
  #sent = 0
  #broken = false

  /** `pendingEvents`: see {@link Quota}. `notify` raises the domain's event. */
  constructor(
    page: KernelBuffer,
    notify: () => void,
    serve: Serve,
    connect: (outbox: Outbox) => Connection,
    pendingEvents: number,
  ) {
    this.#page = page
    this.#requests = new ByteRing(page, offsets.req, XENSTORE.RING_SIZE, words.req_prod * 4, words.req_cons * 4)
    this.#responses = new ByteRing(page, offsets.rsp, XENSTORE.RING_SIZE, words.rsp_prod * 4, words.rsp_cons * 4)
    this.#notify = notify
    this.#serve = serve
    this.#pendingEvents = pendingEvents
    this.#connection = connect(this)
  }

  /** True once the domain broke the protocol; it is not served any more. */
  get broken(): boolean {
    return this.#broken
  }

  /** The domain raised its event: serves what is there, as far as its answers find room. Runs between tasks. */
  receive(): void {
    // A domain that does not read its answers is not asked for more: what piles up here is bounded by one ringful.
    while (!this.#broken && this.#flush()) {
      const chunk = this.#requests.read()
      if (chunk === null) this.#break(XENSTORE_ERROR.RINGIDX)
      else if (chunk.length === 0) return
      else {
        this.#notify()
        this.#take(chunk)
      }
    }
  }

  event(path: string, token: string): void {
    if (this.#broken) return
    const name = `${path}\0${token}`
    // Two equal events say no more than one.
    if (this.#queue.some(({ event }) => event === name)) return
    if (this.#queue.length >= this.#pendingEvents) {
      this.#break(XENSTORE_ERROR.COMM)
      return
    }
    this.#queue.push({ bytes: encodeMessage(watchEvent(path, token)), event: name })
    this.#flush()
  }

  #take(chunk: Uint8Array): void {
    const bytes = new Uint8Array(this.#received.length + chunk.length)
    bytes.set(this.#received)
    bytes.set(chunk, this.#received.length)
    let at = 0
    while (bytes.length - at >= HEADER && !this.#broken) {
      const header = xsd_sockmsg.decode(bytes.subarray(at, at + HEADER))
      if (header.len > XENSTORE.PAYLOAD_MAX) {
        this.#break(XENSTORE_ERROR.PROTO)
        return
      }
      const end = at + HEADER + header.len
      if (end > bytes.length) break
      const payload = textOf(bytes, at + HEADER, end)
      this.#answer({ type: header.type, requestId: header.req_id, transaction: header.tx_id, payload })
      at = end
    }
    this.#received = bytes.slice(at)
  }

  #answer(request: Message): void {
    const answer = this.#serve(this.#connection, request.type, request.transaction, request.payload)
    const reply = typeof answer === 'string' ? { type: XS.ERROR, payload: `${answer}\0` } : { payload: answer.payload }
    this.#queue.push({ bytes: encodeMessage({ ...request, ...reply }), event: null })
    this.#flush()
    if (typeof answer !== 'string') answer.afterwards?.()
  }

  /** Moves what waits into the ring; true when nothing waits any more. */
  #flush(): boolean {
    for (let first = this.#queue[0]; first !== undefined && !this.#broken; first = this.#queue[0]) {
      const sent = this.#responses.write(first.bytes.subarray(this.#sent))
      if (sent < 0) this.#break(XENSTORE_ERROR.RINGIDX)
      if (sent <= 0) return false
      this.#sent += sent
      this.#notify()
      if (this.#sent < first.bytes.length) return false
      this.#queue.shift()
      this.#sent = 0
    }
    return !this.#broken
  }

  #break(error: number): void {
    this.#broken = true
    this.#queue.length = 0
    this.#connection.watches.length = 0
    this.#connection.transactions.clear()
    this.#page.write32(offsets.error, error)
    this.#notify()
  }
}
