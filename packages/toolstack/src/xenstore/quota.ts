/** What one unprivileged domain may use of the store. The figures are those of Xen's own xenstored (xenstored_core.h, xenstored_domain.c). */
export interface Quota {
  /** Nodes that it owns. */
  readonly nodes: number
  readonly watches: number
  /** Transactions at once. */
  readonly transactions: number
  /** Paths that one transaction may touch, plus changes that it may hold: both are kept until it ends. */
  readonly transactionNodes: number
  /** Bytes of one node's value. */
  readonly nodeBytes: number
  readonly permissionsPerNode: number
  /** Watch events that wait because it does not read them; with more the connection ends. */
  readonly pendingEvents: number
}

export const DEFAULT_QUOTA: Quota = {
  nodes: 1000,
  watches: 128,
  transactions: 10,
  transactionNodes: 1024,
  nodeBytes: 2048,
  permissionsPerNode: 5,
  pendingEvents: 1024,
}
