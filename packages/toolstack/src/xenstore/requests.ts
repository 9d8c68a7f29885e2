/**
 * The requests of the xenstore protocol: payload in, payload or error out (docs/misc/xenstore.txt). Paths in payloads end in a zero
 * byte, values do not.
 */
import { XENSTORE, XS } from '@iospace/abi'
import type { Connection } from './connection.ts'
import type { StoreError } from './errors.ts'
import { absolutePath, domainPath } from './path.ts'
import { formatPermission, parsePermission, Right, type Permission } from './permissions.ts'
import type { Workspace } from './workspace.ts'
import type { Xenstore } from './xenstore.ts'

/** `afterwards` is what happens once the answer is on its way. */
export type Answer = { readonly payload: string; readonly afterwards?: () => void } | StoreError

const OK: Answer = { payload: 'OK\0' }
const done = (error: StoreError | null): Answer => error ?? OK

/** Answers one request of `connection`. */
export function answer(
  store: Xenstore,
  connection: Connection,
  type: number,
  transaction: number,
  payload: string,
): Answer {
  const result = dispatch(store, connection, type, transaction, payload)
  return typeof result !== 'string' && result.payload.length > XENSTORE.PAYLOAD_MAX ? 'E2BIG' : result
}

function dispatch(store: Xenstore, connection: Connection, type: number, transaction: number, payload: string): Answer {
  switch (type) {
    case XS.READ:
    case XS.DIRECTORY:
    case XS.GET_PERMS:
    case XS.WRITE:
    case XS.MKDIR:
    case XS.RM:
    case XS.SET_PERMS:
      return onNode(store, connection, type, transaction, payload)
    case XS.WATCH:
      return watch(store, connection, payload)
    case XS.UNWATCH:
      return unwatch(connection, payload)
    case XS.RESET_WATCHES:
      connection.watches.length = 0
      connection.transactions.clear()
      return OK
    case XS.TRANSACTION_START:
      return startTransaction(store, connection, transaction)
    case XS.TRANSACTION_END:
      return endTransaction(store, connection, transaction, payload)
    case XS.GET_DOMAIN_PATH: {
      const domid = domidOf(payload)
      return domid === null ? 'EINVAL' : { payload: `${domainPath(domid)}\0` }
    }
    case XS.IS_DOMAIN_INTRODUCED: {
      const domid = domidOf(payload)
      return domid === null ? 'EINVAL' : { payload: store.isIntroduced(domid) ? 'T\0' : 'F\0' }
    }
    case XS.INTRODUCE: {
      if (!connection.privileged) return 'EACCES'
      const [domid, frame, port] = strings(payload)?.map(decimal) ?? []
      if (domid === undefined || frame === undefined || port === undefined) return 'EINVAL'
      if (domid === null || frame === null || port === null) return 'EINVAL'
      return done(store.introduce(domid, frame, port))
    }
    case XS.RELEASE: {
      if (!connection.privileged) return 'EACCES'
      const domid = domidOf(payload)
      return domid === null ? 'EINVAL' : done(store.release(domid))
    }
    default:
      return 'ENOSYS'
  }
}

function onNode(store: Xenstore, connection: Connection, type: number, transaction: number, payload: string): Answer {
  const end = payload.indexOf('\0')
  const path = end < 0 ? null : absolutePath(payload.slice(0, end), connection.domid)
  if (path === null) return 'EINVAL'
  const rest = payload.slice(end + 1)
  // Only WRITE and SET_PERMS carry something behind the path.
  if (rest !== '' && type !== XS.WRITE && type !== XS.SET_PERMS) return 'EINVAL'
  const { domid } = connection
  return inWorkspace(store, connection, transaction, (workspace) => {
    switch (type) {
      case XS.WRITE:
        return done(workspace.write(domid, path, rest))
      case XS.MKDIR:
        return done(workspace.makeDirectory(domid, path))
      case XS.RM:
        return done(workspace.remove(domid, path))
      case XS.SET_PERMS: {
        const permissions = strings(rest)?.map(parsePermission)
        if (permissions === undefined || permissions.length === 0 || permissions.includes(null)) return 'EINVAL'
        return done(workspace.setPermissions(domid, path, permissions as Permission[]))
      }
    }
    const node = workspace.lookUp(domid, path, Right.read)
    if (typeof node === 'string') return node
    if (type === XS.READ) return { payload: node.value }
    const parts = type === XS.DIRECTORY ? [...node.children.keys()].sort() : node.permissions.map(formatPermission)
    return { payload: parts.map((part) => `${part}\0`).join('') }
  })
}

function inWorkspace(
  store: Xenstore,
  connection: Connection,
  transaction: number,
  work: (workspace: Workspace) => Answer,
): Answer {
  if (transaction === 0) return store.store.now(work)
  const workspace = connection.transactions.get(transaction)
  if (workspace === undefined) return 'ENOENT'
  const { size } = workspace
  return connection.privileged || size < store.store.quota.transactionNodes ? work(workspace) : 'ENOSPC'
}

function watch(store: Xenstore, connection: Connection, payload: string): Answer {
  const [written, token] = strings(payload) ?? []
  if (written === undefined || token === undefined) return 'EINVAL'
  const path = absolutePath(written, connection.domid, true)
  if (path === null) return 'EINVAL'
  if (connection.watches.some((other) => other.path === path && other.token === token)) return 'EEXIST'
  if (!connection.privileged && connection.watches.length >= store.store.quota.watches) return 'E2BIG'
  const relative = !written.startsWith('/') && !written.startsWith('@')
  const added = { path, token, prefix: relative ? `${domainPath(connection.domid)}/` : '' }
  connection.watches.push(added)
  // A new watch fires once at once, whether or not the node exists.
  return { payload: 'OK\0', afterwards: () => connection.fire(added, path) }
}

function unwatch(connection: Connection, payload: string): Answer {
  const [written, token] = strings(payload) ?? []
  if (written === undefined || token === undefined) return 'EINVAL'
  const path = absolutePath(written, connection.domid, true)
  if (path === null) return 'EINVAL'
  const at = connection.watches.findIndex((other) => other.path === path && other.token === token)
  if (at < 0) return 'ENOENT'
  connection.watches.splice(at, 1)
  return OK
}

function startTransaction(store: Xenstore, connection: Connection, transaction: number): Answer {
  if (transaction !== 0) return 'EBUSY'
  if (!connection.privileged && connection.transactions.size >= store.store.quota.transactions) return 'ENOSPC'
  return { payload: `${connection.addTransaction(store.store.begin())}\0` }
}

function endTransaction(store: Xenstore, connection: Connection, transaction: number, payload: string): Answer {
  if (payload !== 'T\0' && payload !== 'F\0') return 'EINVAL'
  const workspace = connection.transactions.get(transaction)
  if (workspace === undefined) return 'ENOENT'
  connection.transactions.delete(transaction)
  return payload === 'F\0' ? OK : done(store.store.commit(workspace))
}

/** The zero-terminated strings of a payload; undefined when the last is not terminated. */
function strings(payload: string): string[] | undefined {
  if (!payload.endsWith('\0')) return undefined
  return payload.slice(0, -1).split('\0')
}

function decimal(text: string): number | null {
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : NaN
  return value <= Number.MAX_SAFE_INTEGER ? value : null
}

function domidOf(payload: string): number | null {
  const [text] = strings(payload) ?? []
  const domid = text === undefined ? null : decimal(text)
  return domid === null || domid >= 0x7ff0 ? null : domid
}
