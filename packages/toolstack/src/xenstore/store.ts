/** The committed state, and how transactions become part of it. Knows nothing of connections or rings. */
import { DOMID_CONTROL } from '@iospace/abi'
import type { StoreError } from './errors.ts'
import type { StorePath } from './path.ts'
import { Right } from './permissions.ts'
import { DEFAULT_QUOTA, type Quota } from './quota.ts'
import { NO_CHILDREN, nodeAt, type Node } from './tree.ts'
import { Workspace, type Change } from './workspace.ts'

export class Store {
  readonly quota: Quota
  readonly #onChange: (change: Change) => void
  #root: Node
  #owned: ReadonlyMap<number, number> = new Map([[DOMID_CONTROL, 1]])
  #generation = 1

  /** `onChange` is called for each committed change, in order, after it took effect. */
  constructor(onChange: (change: Change) => void, quota: Quota = DEFAULT_QUOTA) {
    this.quota = quota
    this.#onChange = onChange
    this.#root = {
      value: '',
      permissions: [{ domid: DOMID_CONTROL, rights: Right.none }],
      generation: 0,
      children: NO_CHILDREN,
    }
  }

  /** The committed node at `path`. */
  at(path: StorePath): Node | undefined {
    return nodeAt(this.#root, path)
  }

  /** A private state, as of now: a transaction. */
  begin(): Workspace {
    return new Workspace(this.#root, this.#owned, this.quota, () => this.#generation++)
  }

  /** Does one request outside a transaction: what `work` changes is committed unless it answers an error. */
  now<T>(work: (workspace: Workspace) => T | StoreError): T | StoreError {
    const workspace = this.begin()
    const result = work(workspace)
    this.#adopt(workspace)
    return result
  }

  /** Ends a transaction: `EAGAIN` when something that it depended on has changed since it began; then nothing of it took effect. */
  commit(transaction: Workspace): StoreError | null {
    for (const path of transaction.touched) {
      if (nodeAt(transaction.base, path)?.generation !== nodeAt(this.#root, path)?.generation) return 'EAGAIN'
    }
    const workspace = this.begin()
    for (const operation of transaction.operations) {
      const error = operation(workspace)
      if (error !== null) return error
    }
    this.#adopt(workspace)
    return null
  }

  #adopt(workspace: Workspace): void {
    this.#root = workspace.root
    this.#owned = workspace.owned
    for (const change of workspace.changes) this.#onChange(change)
  }
}
