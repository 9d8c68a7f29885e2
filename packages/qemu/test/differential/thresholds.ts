/** Least counts of a whole run: one that meets less has shown too little. */
export const THRESHOLDS = {
  operations: 20_000,
  /** Part of the transfers that succeed. */
  succeeding: 0.3,
  eachReason: 50,
  eachLevel: 200,
  eachPageSize: 200,
  staleHits: 500,
  partialInvalidations: 200,
} as const
