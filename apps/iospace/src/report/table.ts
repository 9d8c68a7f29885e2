/** Rows of cells in columns; the last column is not padded. Lines without trailing blanks. */
export function table(rows: readonly (readonly string[])[], indent = 2): string[] {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)))
  return rows.map((row) => `${' '.repeat(indent)}${row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ')}`.trimEnd())
}
