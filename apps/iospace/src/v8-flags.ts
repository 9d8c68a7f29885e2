/**
 * How much bytecode V8 may inline into one function; its own default is 920. A DMA or a hypercall goes through many small methods of several
 * packages, and with the default most of them stay calls: a fifth to a third slower (docs/benchmarks.md). Set it before anything is hot.
 */
export const INLINING_BUDGET = '--max-inlined-bytecode-size-cumulative=4000'
