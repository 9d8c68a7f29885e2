/** The toolstack's own way to the store: the same requests as a guest's, without a ring. Runs as the control domain. */
import { DOMID_CONTROL, XS } from '@iospace/abi'
import type { Connection } from './connection.ts'
import type { StoreError } from './errors.ts'
import { formatPermission, type Permissions } from './permissions.ts'
import type { Xenstore } from './xenstore.ts'

export class LocalClient {
  readonly #store: Xenstore
  readonly #connection: Connection
  readonly #watches = new Map<string, (path: string) => void>()
  #nextToken = 1

  constructor(store: Xenstore) {
    this.#store = store
    this.#connection = store.connect(DOMID_CONTROL, { event: (path, token) => this.#watches.get(token)?.(path) })
  }

  /** The value of a node, or undefined. */
  read(path: string): string | undefined {
    const answer = this.#request(XS.READ, `${path}\0`)
    return typeof answer === 'string' ? undefined : answer.payload
  }

  /** Names of the children of a node; none where there is no node. */
  directory(path: string): string[] {
    const answer = this.#request(XS.DIRECTORY, `${path}\0`)
    return typeof answer === 'string' ? [] : answer.payload.split('\0').slice(0, -1)
  }

  write(path: string, value: string | number): StoreError | null {
    return this.#status(XS.WRITE, `${path}\0${value}`)
  }

  mkdir(path: string): StoreError | null {
    return this.#status(XS.MKDIR, `${path}\0`)
  }

  remove(path: string): StoreError | null {
    return this.#status(XS.RM, `${path}\0`)
  }

  setPermissions(path: string, permissions: Permissions): StoreError | null {
    return this.#status(XS.SET_PERMS, `${path}\0${permissions.map((entry) => `${formatPermission(entry)}\0`).join('')}`)
  }

  introduce(domid: number, frame: number, port: number): StoreError | null {
    return this.#status(XS.INTRODUCE, `${domid}\0${frame}\0${port}\0`)
  }

  release(domid: number): StoreError | null {
    return this.#status(XS.RELEASE, `${domid}\0`)
  }

  /** Calls `changed` now and whenever the node or something below it changes, inside the change: it may only wake a task. */
  watch(path: string, changed: (path: string) => void): { remove(): void } {
    const token = String(this.#nextToken++)
    this.#watches.set(token, changed)
    this.#request(XS.WATCH, `${path}\0${token}\0`)
    return {
      remove: () => {
        this.#watches.delete(token)
        this.#request(XS.UNWATCH, `${path}\0${token}\0`)
      },
    }
  }

  #request(type: number, payload: string) {
    const answer = this.#store.request(this.#connection, type, 0, payload)
    if (typeof answer !== 'string') answer.afterwards?.()
    return answer
  }

  #status(type: number, payload: string): StoreError | null {
    const answer = this.#request(type, payload)
    return typeof answer === 'string' ? answer : null
  }
}
