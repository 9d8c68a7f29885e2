/**
 * The client side of xenstore: requests and watches over the ring of bytes that this domain shares with the server (Linux
 * drivers/xen/xenbus). Several requests may be under way; answers are told apart by their `req_id`.
 */
import { XENSTORE, xenstore_domain_interface, XS, xsd_sockmsg, type ErrnoName } from '@iospace/abi'
import type { Scheduler, WaitQueue } from '@iospace/machine'
import type { KernelBuffer } from '../../memory/kernel-buffer.ts'
import type { EventChannels } from '../events.ts'
import { ByteRing } from './byte-ring.ts'

/** What the server answered: a payload, or the name of an error. */
export type XenstoreAnswer =
  | { readonly error: null; readonly payload: Uint8Array }
  | { readonly error: ErrnoName | 'EPROTO'; readonly payload: null }

/** An answer to a request that has no payload. */
export type XenstoreStatus = 'ok' | ErrnoName | 'EPROTO'

export interface Watch {
  readonly path: string
  /** Ends the watch. */
  remove(): Promise<void>
}

interface Pending {
  answer: XenstoreAnswer | null
  readonly queue: WaitQueue
}

const HEADER = xsd_sockmsg.size
const encoder = new TextEncoder()
const decoder = new TextDecoder()
const { words, offsets } = xenstore_domain_interface

export class XenstoreClient {
  readonly #events: EventChannels
  readonly #scheduler: Scheduler
  readonly #port: number
  readonly #requests: ByteRing
  readonly #responses: ByteRing
  readonly #pending = new Map<number, Pending>()
  readonly #watches = new Map<string, (path: string) => void>()
  readonly #room: WaitQueue
  #busy = false
  #nextId = 1
  #nextToken = 1
  #dead = false
  /** The beginning of a message whose rest has not come yet. */
  #received = new Uint8Array(0)

  /** Talks over `page`, the xenstore page of this domain, and event channel `port` to the server. */
  constructor(page: KernelBuffer, port: number, events: EventChannels, scheduler: Scheduler) {
    this.#events = events
    this.#scheduler = scheduler
    this.#port = port
    this.#requests = new ByteRing(page, offsets.req, XENSTORE.RING_SIZE, words.req_prod * 4, words.req_cons * 4)
    this.#responses = new ByteRing(page, offsets.rsp, XENSTORE.RING_SIZE, words.rsp_prod * 4, words.rsp_cons * 4)
    this.#room = scheduler.queue('room in the xenstore ring')
    events.handle(port, () => this.#receive())
  }

  /** The value of a node as text; undefined when there is none that this domain may read. Paths without a leading `/` are this domain's. */
  async read(path: string, transaction = 0): Promise<string | undefined> {
    const { payload } = await this.request(XS.READ, [path], transaction)
    return payload === null ? undefined : decoder.decode(payload)
  }

  /** {@link read} as a whole decimal number; undefined when it is none. */
  async readNumber(path: string, transaction = 0): Promise<number | undefined> {
    const text = await this.read(path, transaction)
    return text !== undefined && /^-?\d{1,15}$/.test(text) ? Number(text) : undefined
  }

  /** Names of the children of a node; empty when there is no such node. */
  async directory(path: string, transaction = 0): Promise<string[]> {
    const { payload } = await this.request(XS.DIRECTORY, [path], transaction)
    return payload === null
      ? []
      : decoder
          .decode(payload)
          .split('\0')
          .filter((name) => name !== '')
  }

  /** Creates a node or changes its value. */
  write(path: string, value: string | number, transaction = 0): Promise<XenstoreStatus> {
    return this.#status(XS.WRITE, [path], String(value), transaction)
  }

  mkdir(path: string, transaction = 0): Promise<XenstoreStatus> {
    return this.#status(XS.MKDIR, [path], null, transaction)
  }

  /** Removes a node and everything below it. */
  remove(path: string, transaction = 0): Promise<XenstoreStatus> {
    return this.#status(XS.RM, [path], null, transaction)
  }

  /**
   * Runs `body` in a transaction and commits; again when another client changed what it read (`EAGAIN`). `body` returns false to
   * give up. 'ok' when it was committed.
   */
  async transaction(body: (transaction: number) => Promise<boolean>): Promise<XenstoreStatus> {
    for (;;) {
      const { error, payload } = await this.request(XS.TRANSACTION_START, [''], 0)
      if (payload === null) return error
      const transaction = Number(decoder.decode(payload).replace(/\0$/, ''))
      const commit = await body(transaction)
      const status = await this.#status(XS.TRANSACTION_END, [commit ? 'T' : 'F'], null, transaction)
      if (status !== 'EAGAIN') return commit ? status : 'ECHILD'
    }
  }

  /**
   * Calls `changed` with the path, once now and then whenever the node or something below it changes. It runs between tasks and may
   * not wait. Null when the server refused.
   */
  async watch(path: string, changed: (path: string) => void): Promise<Watch | null> {
    const token = `w${this.#nextToken++}`
    this.#watches.set(token, changed)
    if ((await this.#status(XS.WATCH, [path, token], null, 0)) !== 'ok') {
      this.#watches.delete(token)
      return null
    }
    const remove = async (): Promise<void> => {
      this.#watches.delete(token)
      await this.#status(XS.UNWATCH, [path, token], null, 0)
    }
    return { path, remove }
  }

  /** Sends one message (`strings`, each with its zero, then `tail` without one) and waits for the answer. Tasks only. */
  async request(
    type: number,
    strings: readonly string[],
    transaction: number,
    tail: string | null = null,
  ): Promise<XenstoreAnswer> {
    const body = encoder.encode(strings.map((text) => `${text}\0`).join('') + (tail ?? ''))
    if (body.length > XENSTORE.PAYLOAD_MAX) return { error: 'E2BIG', payload: null }
    const id = this.#nextId++
    const pending: Pending = { answer: null, queue: this.#scheduler.queue('an answer of xenstore') }
    this.#pending.set(id, pending)
    const message = new Uint8Array(HEADER + body.length)
    message.set(xsd_sockmsg.encode({ type, req_id: id, tx_id: transaction, len: body.length }))
    message.set(body, HEADER)
    await this.#send(message)
    while (pending.answer === null && !this.#dead) await pending.queue.wait()
    this.#pending.delete(id)
    return pending.answer ?? { error: 'EPROTO', payload: null }
  }

  // Messages must not mix: one sender at a time, in pieces as the server makes room.
  async #send(message: Uint8Array): Promise<void> {
    while (this.#busy) await this.#room.wait()
    this.#busy = true
    try {
      for (let done = 0; done < message.length && !this.#dead;) {
        const sent = this.#requests.write(message.subarray(done))
        if (sent < 0) this.#die()
        else if (sent === 0) await this.#room.wait()
        else {
          done += sent
          this.#events.send(this.#port)
        }
      }
    } finally {
      this.#busy = false
      this.#room.wake()
    }
  }

  async #status(
    type: number,
    strings: readonly string[],
    tail: string | null,
    transaction: number,
  ): Promise<XenstoreStatus> {
    const { error } = await this.request(type, strings, transaction, tail)
    return error ?? 'ok'
  }

  #receive(): void {
    this.#room.wakeAll()
    const chunk = this.#responses.read()
    if (chunk === null) {
      this.#die()
      return
    }
    if (chunk.length > 0) this.#events.send(this.#port)
    const bytes = new Uint8Array(this.#received.length + chunk.length)
    bytes.set(this.#received)
    bytes.set(chunk, this.#received.length)
    let at = 0
    while (bytes.length - at >= HEADER) {
      const header = xsd_sockmsg.decode(bytes.subarray(at, at + HEADER))
      if (header.len > XENSTORE.PAYLOAD_MAX) {
        this.#die()
        return
      }
      if (bytes.length - at < HEADER + header.len) break
      this.#dispatch(header.type, header.req_id, bytes.slice(at + HEADER, at + HEADER + header.len))
      at += HEADER + header.len
    }
    this.#received = bytes.slice(at)
  }

  #dispatch(type: number, id: number, payload: Uint8Array): void {
    if (type === XS.WATCH_EVENT) {
      const [path = '', token = ''] = decoder.decode(payload).split('\0')
      this.#watches.get(token)?.(path)
      return
    }
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    pending.answer =
      type === XS.ERROR
        ? { error: decoder.decode(payload).replace(/\0$/, '') as ErrnoName, payload: null }
        : { error: null, payload }
    pending.queue.wakeAll()
  }

  // A ring whose indices make no sense: nothing that comes over it can be believed.
  #die(): void {
    this.#dead = true
    for (const { queue } of this.#pending.values()) queue.wakeAll()
    this.#room.wakeAll()
  }
}
