/** Counts by name. */
export type Counts = Record<string, number>

export function bump(counts: Counts, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}

export const listed = (counts: Readonly<Counts>): string =>
  Object.entries(counts)
    .toSorted(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }))
    .map(([name, count]) => `${name}: ${count}`)
    .join(', ')
