import type { StructType } from './layout.ts'

/** Numbers by dotted field path (`copy.source.offset` is `offsets['source.offset']`). */
export interface Tables {
  readonly offsets: Readonly<Record<string, number>>
  readonly words: Readonly<Record<string, number>>
  readonly shifts: Readonly<Record<string, number>>
}

/**
 * The frozen tables of a struct: byte offset, index of the u32 word that holds the field's first byte, and the field's
 * bit in that word.
 */
export function tablesOf(layout: StructType): Tables {
  const offsets: Record<string, number> = {}
  collect(layout, '', 0, offsets)
  const words: Record<string, number> = {}
  const shifts: Record<string, number> = {}
  for (const [path, offset] of Object.entries(offsets)) {
    words[path] = offset >>> 2
    shifts[path] = (offset & 3) * 8
  }
  return { offsets: fast(offsets), words: fast(words), shifts: fast(shifts) }
}

function collect(layout: StructType, prefix: string, base: number, into: Record<string, number>): void {
  for (const { name, offset, type } of layout.fields) {
    into[prefix + name] = base + offset
    if (type.kind === 'struct') collect(type, `${prefix}${name}.`, base + offset, into)
  }
}

/**
 * A frozen copy whose properties an engine can read as constants. V8 turns an object that grew by computed keys into a
 * hash table after a dozen of them, and a read from it in a handler then costs three times as much; an object from
 * JSON.parse stays a plain record.
 */
function fast(table: Record<string, number>): Readonly<Record<string, number>> {
  return Object.freeze(JSON.parse(JSON.stringify(table)) as Record<string, number>)
}
