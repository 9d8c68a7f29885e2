/** One client of the store: its watches, its transactions, and the way back to it. */
import { DOMID_CONTROL } from '@iospace/abi'
import type { StorePath } from './path.ts'
import type { Workspace } from './workspace.ts'

export interface Watch {
  /** Canonical. */
  readonly path: StorePath
  readonly token: string
  /** What to cut from the front of an event's path, for a watch that was set by a relative path. */
  readonly prefix: string
}

/** Where answers and events go. */
export interface Outbox {
  /** A watch fired. The outbox may keep one of two equal events that wait. */
  event(path: string, token: string): void
}

export class Connection {
  readonly domid: number
  readonly watches: Watch[] = []
  readonly transactions = new Map<number, Workspace>()
  readonly outbox: Outbox
  #nextTransaction = 1

  constructor(domid: number, outbox: Outbox) {
    this.domid = domid
    this.outbox = outbox
  }

  get privileged(): boolean {
    return this.domid === DOMID_CONTROL
  }

  /** Ids are never 0 and wrap after 2^32. */
  addTransaction(workspace: Workspace): number {
    let id: number
    do {
      id = this.#nextTransaction
      this.#nextTransaction = id === 0xffff_ffff ? 1 : id + 1
    } while (this.transactions.has(id))
    this.transactions.set(id, workspace)
    return id
  }

  /** Tells `watch` that `path` changed. */
  fire(watch: Watch, path: StorePath): void {
    this.outbox.event(path.startsWith(watch.prefix) ? path.slice(watch.prefix.length) : path, watch.token)
  }
}
