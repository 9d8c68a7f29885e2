/**
 * The store's nodes as an immutable tree: a change copies the nodes from the root to it. So a transaction is a kept root, and what it
 * read can be compared with what is there when it ends.
 */
import { namesOf, type StorePath } from './path.ts'
import type { Permissions } from './permissions.ts'

export interface Node {
  /** One character per byte. */
  readonly value: string
  readonly permissions: Permissions
  /** Differs after each change of the value, the permissions or the list of children. */
  readonly generation: number
  readonly children: ReadonlyMap<string, Node>
}

export const NO_CHILDREN: ReadonlyMap<string, Node> = new Map()

/** The node at `path`, or undefined. */
export function nodeAt(root: Node, path: StorePath): Node | undefined {
  let node: Node | undefined = root
  for (const name of namesOf(path)) node = node?.children.get(name)
  return node
}

/** The path of the deepest node on the way to `path` that exists. */
export function deepestExisting(root: Node, path: StorePath): { readonly path: StorePath; readonly node: Node } {
  let node = root
  let at = ''
  for (const name of namesOf(path)) {
    const child = node.children.get(name)
    if (child === undefined) break
    node = child
    at += `/${name}`
  }
  return { path: at === '' ? '/' : at, node }
}

/** The tree with `node` at `path`, whose parent exists. `generation` marks the parent when its list of children changes. */
export function withNode(root: Node, path: StorePath, node: Node, generation: number): Node {
  return replace(root, namesOf(path), 0, node, generation)
}

/** The tree without the node at `path` and all below it. */
export function withoutNode(root: Node, path: StorePath, generation: number): Node {
  return replace(root, namesOf(path), 0, null, generation)
}

/** Calls `each` for a node and everything below it. */
export function walk(node: Node, each: (node: Node) => void): void {
  each(node)
  for (const child of node.children.values()) walk(child, each)
}

function replace(at: Node, names: readonly string[], index: number, node: Node | null, generation: number): Node {
  if (index === names.length) return node ?? at
  const name = names[index]!
  const old = at.children.get(name)
  const last = index === names.length - 1
  if (old === undefined && !last) return at
  const children = new Map(at.children)
  if (last && node === null) children.delete(name)
  else children.set(name, last ? node! : replace(old!, names, index + 1, node, generation))
  const listChanged = last && (old === undefined) !== (node === null)
  return { ...at, children, generation: listChanged ? generation : at.generation }
}
