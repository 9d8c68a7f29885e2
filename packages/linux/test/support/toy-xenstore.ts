/** The least of a xenstore server that a bus of front- and back-ends needs: a tree, watches, transactions without conflicts. */
import { XENSTORE, xenstore_domain_interface, XS, xsd_sockmsg } from '@iospace/abi'
import { ByteRing, type Kernel, type KernelBuffer } from '../../src/index.ts'

const { offsets, words } = xenstore_domain_interface

interface Client {
  readonly domid: number
  readonly requests: ByteRing
  readonly responses: ByteRing
  readonly notify: () => void
  bytes: Uint8Array
  out: Uint8Array
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const join = (a: Uint8Array, b: Uint8Array): Uint8Array => Uint8Array.from([...a, ...b])

export class ToyXenstore {
  readonly nodes = new Map<string, string>()
  readonly #watches: {
    readonly client: Client
    readonly path: string
    readonly given: string
    readonly token: string
  }[] = []
  /** Requests seen, as `READ path`. */
  readonly log: string[] = []
  /** Messages are answered in pieces of at most this many bytes. */
  chunk = Infinity

  /** Serves domain `domid` over `page`; call the result whenever its event comes. */
  serve(domid: number, page: KernelBuffer, notify: () => void): () => void {
    const ring = (data: number, producer: number, consumer: number): ByteRing =>
      new ByteRing(page, data, XENSTORE.RING_SIZE, producer * 4, consumer * 4)
    const client: Client = {
      domid,
      requests: ring(offsets.req, words.req_prod, words.req_cons),
      responses: ring(offsets.rsp, words.rsp_prod, words.rsp_cons),
      notify,
      bytes: new Uint8Array(0),
      out: new Uint8Array(0),
    }
    return () => this.#receive(client)
  }

  /** Writes as the toolstack does, and fires watches. */
  set(path: string, value: string): void {
    this.nodes.set(path, value)
    this.#fire(path)
  }

  remove(path: string): void {
    for (const node of this.nodes.keys()) if (node === path || node.startsWith(`${path}/`)) this.nodes.delete(node)
    this.#fire(path)
  }

  #receive(client: Client): void {
    client.bytes = join(client.bytes, client.requests.read() ?? new Uint8Array(0))
    while (client.bytes.length >= 16) {
      const header = xsd_sockmsg.decode(client.bytes.subarray(0, 16))
      if (client.bytes.length < 16 + header.len) break
      const body = client.bytes.slice(16, 16 + header.len)
      client.bytes = client.bytes.slice(16 + header.len)
      this.#answer(client, header.type, header.req_id, header.tx_id, body)
    }
    this.#flush(client)
  }

  #answer(client: Client, type: number, id: number, tx: number, body: Uint8Array): void {
    const [first = '', second = ''] = text(body).split('\0')
    const path = first.startsWith('/') ? first : `/local/domain/${client.domid}/${first}`
    const name = Object.entries(XS).find(([, number]) => number === type)?.[0] ?? String(type)
    this.log.push(`${name} ${first}`)
    const reply = (payload: string, as = type): void => this.#send(client, as, id, tx, payload)
    switch (type) {
      case XS.READ: {
        const value = this.nodes.get(path)
        if (value === undefined) reply('ENOENT\0', XS.ERROR)
        else reply(value)
        return
      }
      case XS.DIRECTORY: {
        const names = new Set(
          [...this.nodes.keys()]
            .filter((node) => node.startsWith(`${path}/`))
            .map((node) => node.slice(path.length + 1).split('/')[0]!),
        )
        if (names.size === 0 && !this.nodes.has(path)) reply('ENOENT\0', XS.ERROR)
        else reply([...names].map((child) => `${child}\0`).join(''))
        return
      }
      case XS.WRITE:
        this.nodes.set(path, text(body).slice(first.length + 1))
        reply('OK\0')
        this.#fire(path)
        return
      case XS.RM:
        reply('OK\0')
        this.remove(path)
        return
      case XS.WATCH:
        this.#watches.push({ client, path, given: first, token: second })
        reply('OK\0')
        this.#send(client, XS.WATCH_EVENT, 0, 0, `${first}\0${second}\0`)
        return
      case XS.UNWATCH:
        this.#watches.splice(
          this.#watches.findIndex((watch) => watch.client === client && watch.token === second),
          1,
        )
        reply('OK\0')
        return
      case XS.TRANSACTION_START:
        reply('7\0')
        return
      case XS.TRANSACTION_END:
        reply('OK\0')
        return
      default:
        reply('ENOSYS\0', XS.ERROR)
    }
  }

  #fire(path: string): void {
    for (const watch of this.#watches) {
      if (path !== watch.path && !path.startsWith(`${watch.path}/`) && !watch.path.startsWith(`${path}/`)) continue
      const shown = watch.given.startsWith('/') ? path : path.replace(`/local/domain/${watch.client.domid}/`, '')
      this.#send(watch.client, XS.WATCH_EVENT, 0, 0, `${shown}\0${watch.token}\0`)
      this.#flush(watch.client)
    }
  }

  #send(client: Client, type: number, id: number, tx: number, payload: string): void {
    const body = new TextEncoder().encode(payload)
    client.out = join(client.out, join(xsd_sockmsg.encode({ type, req_id: id, tx_id: tx, len: body.length }), body))
  }

  #flush(client: Client): void {
    const sent = client.responses.write(client.out.subarray(0, this.chunk))
    client.out = client.out.slice(Math.max(0, sent))
    client.notify()
  }
}

/** A kernel that is booted with a xenstore connection to a server in domain `dom0`'s upcall. */
export function attachXenstore(
  store: ToyXenstore,
  dom0: Kernel,
  domid: number,
  page: KernelBuffer,
  port: number,
): void {
  const receive = store.serve(domid, page, () => dom0.events.send(port))
  dom0.events.handle(port, receive)
}
