/**
 * xenstored: the store with its clients. Domains come through a ring in a page of theirs ({@link RingConnection}); the toolstack in
 * the same kernel calls {@link LocalClient}.
 */
import { answer, type Answer } from './requests.ts'
import { Connection, type Outbox } from './connection.ts'
import type { StoreError } from './errors.ts'
import { parentOf } from './path.ts'
import { allows, Right } from './permissions.ts'
import { DEFAULT_QUOTA, type Quota } from './quota.ts'
import { Store } from './store.ts'
import { firedPath, type Change } from './workspace.ts'

/** How the server reaches a domain's xenstore page and event channel. */
export interface DomainTransport {
  /** Opens the ring of a domain whose page is machine frame `frame` and whose unbound port is `port`; null when that cannot be done. */
  open(domid: number, frame: number, port: number, connect: (outbox: Outbox) => Connection): { close(): void } | null
}

const INTRODUCE = '@introduceDomain'
const RELEASE = '@releaseDomain'

export class Xenstore {
  readonly store: Store
  readonly #transport: DomainTransport
  readonly #connections = new Set<Connection>()
  readonly #introduced = new Map<number, { close(): void }>()

  constructor(transport: DomainTransport, quota: Quota = DEFAULT_QUOTA) {
    this.#transport = transport
    this.store = new Store((change) => this.#fire(change), quota)
  }

  /** A new client of `domid`. */
  connect(domid: number, outbox: Outbox): Connection {
    const connection = new Connection(domid, outbox)
    this.#connections.add(connection)
    return connection
  }

  /** Forgets a client: its watches, and its transactions without effect. */
  disconnect(connection: Connection): void {
    connection.watches.length = 0
    connection.transactions.clear()
    this.#connections.delete(connection)
  }

  /** Answers one request. */
  request(connection: Connection, type: number, transaction: number, payload: string): Answer {
    return answer(this, connection, type, transaction, payload)
  }

  /** Serves a domain through its page from now on; fires `@introduceDomain`. EBUSY when it is served already. */
  introduce(domid: number, frame: number, port: number): StoreError | null {
    if (this.#introduced.has(domid)) return 'EBUSY'
    const opened = this.#transport.open(domid, frame, port, (outbox) => this.connect(domid, outbox))
    if (opened === null) return 'EINVAL'
    this.#introduced.set(domid, opened)
    this.#special(INTRODUCE)
    return null
  }

  /** Stops serving a domain; fires `@releaseDomain`. Its nodes stay: the toolstack removes them. */
  release(domid: number): StoreError | null {
    const opened = this.#introduced.get(domid)
    if (opened === undefined) return 'ENOENT'
    this.#introduced.delete(domid)
    opened.close()
    for (const connection of this.#connections)
      if (connection.domid === domid && domid !== 0) this.disconnect(connection)
    this.#special(RELEASE)
    return null
  }

  isIntroduced(domid: number): boolean {
    return domid === 0 || this.#introduced.has(domid)
  }

  #fire(change: Change): void {
    for (const connection of this.#connections) {
      for (const watch of connection.watches) {
        const path = firedPath(change, watch.path)
        if (path !== null && this.#mayKnow(connection, change)) connection.fire(watch, path)
      }
    }
  }

  /** An event tells that a node exists: only those may have it who may read the node, or once it is gone, where it was. */
  #mayKnow(connection: Connection, change: Change): boolean {
    const node = change.removed ?? this.store.at(change.path)
    const seen = node !== undefined && allows(node.permissions, connection.domid, Right.read)
    if (seen || change.removed === null) return seen
    const parent = this.store.at(parentOf(change.path))
    return parent !== undefined && allows(parent.permissions, connection.domid, Right.read)
  }

  #special(path: string): void {
    for (const connection of this.#connections) {
      if (!connection.privileged) continue
      for (const watch of connection.watches) if (watch.path === path) connection.fire(watch, path)
    }
  }
}
