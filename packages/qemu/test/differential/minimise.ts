/** Makes a failing episode smaller (Zeller and Hildebrandt, “Simplifying and Isolating Failure-Inducing Input”). */

/** Indices of operations of an episode, ascending. */
export type Kept = readonly number[]

/** The episode with the operations at `kept` only. */
export const keep = <Operation, Episode extends { readonly operations: readonly Operation[] }>(
  episode: Episode,
  kept: Kept,
): Episode => ({ ...episode, operations: kept.map((index) => episode.operations[index]!) })

/**
 * A smallest list within `from` that fails: no single operation can be left out of it. `fails` gives null, or the place in the list of
 * the operation that failed, behind which nothing is needed; −1 where it was the list as a whole.
 */
export function minimise(from: Kept, fails: (kept: Kept) => number | null): Kept {
  const shorten = (kept: Kept): Kept | null => {
    const at = fails(kept)
    return at === null ? null : at < 0 ? kept : kept.slice(0, at + 1)
  }
  let kept = shorten(from) ?? from
  for (let size = Math.ceil(kept.length / 2); size >= 1;) {
    const smaller = withoutOne(kept, size, shorten)
    if (smaller !== null) kept = smaller
    else if (size === 1) break
    else size = Math.floor(size / 2)
    size = Math.min(size, Math.max(1, kept.length - 1))
  }
  return kept
}

// The first list that fails without one run of `size` operations; the later ones are tried first, since they follow from the others.
function withoutOne(kept: Kept, size: number, shorten: (kept: Kept) => Kept | null): Kept | null {
  for (let end = kept.length; end > 0; end -= size) {
    const fewer = [...kept.slice(0, Math.max(0, end - size)), ...kept.slice(end)]
    const smaller = fewer.length < kept.length ? shorten(fewer) : null
    if (smaller !== null) return smaller
  }
  return null
}
