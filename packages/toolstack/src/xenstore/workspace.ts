/** A state of the store that operations work on: the committed one for the length of one request, or a transaction's own. */
import { DOMID_CONTROL } from '@iospace/abi'
import type { StoreError } from './errors.ts'
import { isWithin, parentOf, type StorePath } from './path.ts'
import { allows, inherit, ownerOf, Right, type Permissions } from './permissions.ts'
import type { Quota } from './quota.ts'
import { deepestExisting, NO_CHILDREN, nodeAt, walk, withNode, withoutNode, type Node } from './tree.ts'

/** A path that changed: watches fire for it. */
export interface Change {
  readonly path: StorePath
  /** The nodes that went away with it. */
  readonly removed: Node | null
}

/** What one request did, to be done again when a transaction ends. */
export type Operation = (workspace: Workspace) => StoreError | null

export class Workspace {
  root: Node
  readonly base: Node
  readonly changes: Change[] = []
  /** Every path whose node, or whose absence, an answer depended on. */
  readonly touched = new Set<StorePath>()
  readonly operations: Operation[] = []
  /** Nodes per owner. */
  readonly owned: Map<number, number>
  readonly #quota: Quota
  readonly #generation: () => number

  constructor(root: Node, owned: ReadonlyMap<number, number>, quota: Quota, generation: () => number) {
    this.root = root
    this.base = root
    this.owned = new Map(owned)
    this.#quota = quota
    this.#generation = generation
  }

  /** How much it holds: paths that it touched, and changes to be done again. */
  get size(): number {
    return this.touched.size + this.operations.length
  }

  /** The node at `path` if `domid` has `right` to it. What does not exist is told only to those who may see where it would be. */
  lookUp(domid: number, path: StorePath, right: number): Node | StoreError {
    this.touched.add(path)
    const node = nodeAt(this.root, path)
    if (node !== undefined) return allows(node.permissions, domid, right) ? node : 'EACCES'
    const above = deepestExisting(this.root, path)
    this.touched.add(above.path)
    return allows(above.node.permissions, domid, right) ? 'ENOENT' : 'EACCES'
  }

  /** Sets the value of a node; makes it and those above it where they are missing. */
  write(domid: number, path: StorePath, value: string): StoreError | null {
    return this.#do((workspace) => workspace.#put(domid, path, value))
  }

  /** Makes a node, and those above it; no effect on one that exists. */
  makeDirectory(domid: number, path: StorePath): StoreError | null {
    return this.#do((workspace) => {
      const node = workspace.lookUp(domid, path, Right.write)
      if (typeof node !== 'string') return null
      return node === 'ENOENT' ? workspace.#put(domid, path, '') : node
    })
  }

  /** Removes a node and all below it. One that is missing under an existing parent is no error (xenstore.txt, RM). */
  remove(domid: number, path: StorePath): StoreError | null {
    return this.#do((workspace) => {
      if (path === '/') return 'EINVAL'
      const node = workspace.lookUp(domid, path, Right.write)
      if (node === 'ENOENT') return nodeAt(workspace.root, parentOf(path)) === undefined ? 'ENOENT' : null
      if (typeof node === 'string') return node
      workspace.touched.add(parentOf(path))
      walk(node, (gone) => workspace.#count(ownerOf(gone.permissions), -1))
      workspace.root = withoutNode(workspace.root, path, workspace.#generation())
      workspace.changes.push({ path, removed: node })
      return null
    })
  }

  /** Replaces a node's permissions: its owner and the control domain may, and only the latter may give it another owner. */
  setPermissions(domid: number, path: StorePath, permissions: Permissions): StoreError | null {
    return this.#do((workspace) => {
      // The owner has every right; nobody else learns here whether there is a node.
      const node = workspace.lookUp(domid, path, Right.write)
      if (typeof node === 'string') return node
      const owner = ownerOf(node.permissions)
      if (domid !== DOMID_CONTROL) {
        if (domid !== owner) return 'EACCES'
        if (ownerOf(permissions) !== owner) return 'EPERM'
        if (permissions.length > this.#quota.permissionsPerNode) return 'ENOSPC'
      }
      workspace.#count(owner, -1)
      workspace.#count(ownerOf(permissions), 1)
      workspace.#place(path, { ...node, permissions, generation: workspace.#generation() })
      return null
    })
  }

  #do(operation: Operation): StoreError | null {
    const error = operation(this)
    if (error === null) this.operations.push(operation)
    return error
  }

  #put(domid: number, path: StorePath, value: string): StoreError | null {
    const found = this.lookUp(domid, path, Right.write)
    if (typeof found === 'string' && found !== 'ENOENT') return found
    const limited = domid !== DOMID_CONTROL
    if (limited && value.length > this.#quota.nodeBytes) return 'ENOSPC'
    if (typeof found !== 'string') {
      this.#place(path, { ...found, value, generation: this.#generation() })
      return null
    }
    const above = deepestExisting(this.root, path)
    const missing: StorePath[] = []
    for (let at = path; at !== above.path; at = parentOf(at)) missing.unshift(at)
    const permissions = inherit(above.node.permissions, domid)
    if (limited && (this.owned.get(domid) ?? 0) + missing.length > this.#quota.nodes) return 'ENOSPC'
    for (const at of missing) {
      const generation = this.#generation()
      const node: Node = { value: at === path ? value : '', permissions, generation, children: NO_CHILDREN }
      this.root = withNode(this.root, at, node, generation)
      this.#count(ownerOf(permissions), 1)
    }
    this.changes.push({ path, removed: null })
    return null
  }

  #place(path: StorePath, node: Node): void {
    this.root = path === '/' ? node : withNode(this.root, path, node, node.generation)
    this.changes.push({ path, removed: null })
  }

  #count(domid: number, by: number): void {
    this.owned.set(domid, (this.owned.get(domid) ?? 0) + by)
  }
}

/** Whether a change at `change.path` concerns a watch on `watched`, and the path to tell: null when it does not. */
export function firedPath(change: Change, watched: StorePath): StorePath | null {
  if (isWithin(change.path, watched)) return change.path
  if (change.removed === null || !isWithin(watched, change.path)) return null
  const rest = watched.slice(change.path.length)
  return nodeAt(change.removed, rest) === undefined ? null : watched
}
