import fc from 'fast-check'

/**
 * Properties of this package run with a seed that fast-check prints when one fails. Replay: `FC_SEED=<seed> npx vitest
 * run`; more runs: `FC_NUM_RUNS=10000`.
 */
const { FC_SEED, FC_NUM_RUNS } = process.env
fc.configureGlobal({
  ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }),
  ...(FC_NUM_RUNS === undefined ? {} : { numRuns: Number(FC_NUM_RUNS) }),
})

/** Parameters of a property that is slow: `numRuns` runs, unless the environment says otherwise. */
export const runs = (numRuns: number): { numRuns: number } => ({
  numRuns: FC_NUM_RUNS === undefined ? numRuns : Number(FC_NUM_RUNS),
})

export { fc }
