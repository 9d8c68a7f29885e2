/** Makes a failing episode smaller (Zeller and Hildebrandt, “Simplifying and Isolating Failure-Inducing Input”). */
import type { Episode } from './operation.ts'

/** Indices of operations of an episode, ascending. */
export type Kept = readonly number[]

/** The episode with the operations at `kept` only. */
export const keep = (episode: Episode, kept: Kept): Episode => ({
  ...episode,
  operations: kept.map((index) => episode.operations[index]!),
})

/** A smallest list within `from` for which `fails` still holds: no single operation can be left out of it. */
export function minimise(from: Kept, fails: (kept: Kept) => boolean): Kept {
  let kept = from
  for (let size = Math.ceil(kept.length / 2); size >= 1;) {
    const smaller = withoutOne(kept, size, fails)
    if (smaller !== null) kept = smaller
    else if (size === 1) break
    else size = Math.floor(size / 2)
    size = Math.min(size, Math.max(1, kept.length - 1))
  }
  return kept
}

// The first list that fails without one run of `size` operations; the later ones are tried first, since they follow from the others.
function withoutOne(kept: Kept, size: number, fails: (kept: Kept) => boolean): Kept | null {
  for (let end = kept.length; end > 0; end -= size) {
    const fewer = [...kept.slice(0, Math.max(0, end - size)), ...kept.slice(end)]
    if (fewer.length < kept.length && fails(fewer)) return fewer
  }
  return null
}
