import { LengthError } from './errors.ts'
import { hex, hexBytes } from './hex.ts'
import type { FieldType, StructType } from './layout.ts'
import type { Struct } from './struct.ts'

/**
 * One line of a dump: where, the bytes, the field's path and its value as text (numbers in decimal and hexadecimal).
 */
export interface DumpRow {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly field: string
  readonly value: string
}

/**
 * The rows of a struct's bytes in order, nested structs and arrays opened. LengthError unless `bytes` has exactly the
 * struct's size.
 */
export function dumpRows(struct: Pick<Struct, 'layout'>, bytes: Uint8Array): DumpRow[] {
  const { layout } = struct
  if (bytes.length !== layout.size) throw new LengthError(layout.name, undefined, layout.size, bytes.length)
  const rows: DumpRow[] = []
  visitStruct(layout, '', 0, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), rows)
  return rows
}

/** The rows as text, one line each, after a line with the struct's name and size. */
export function dump(struct: Pick<Struct, 'layout'>, bytes: Uint8Array): string {
  const rows = dumpRows(struct, bytes)
  const width = Math.max(...rows.map((row) => row.field.length))
  const lines = rows.map(
    (row) => `  ${hex(row.offset, 4)}  ${shortened(row.bytes).padEnd(26)}  ${row.field.padEnd(width)}  ${row.value}`,
  )
  return [`${struct.layout.name}, ${struct.layout.size} bytes`, ...lines.map((line) => line.trimEnd())].join('\n')
}

function visitStruct(layout: StructType, prefix: string, base: number, view: DataView, rows: DumpRow[]): void {
  for (const { name, offset, type } of layout.fields) visit(type, prefix + name, base + offset, view, rows)
}

function visit(type: FieldType, field: string, offset: number, view: DataView, rows: DumpRow[]): void {
  if (type.kind === 'struct') return visitStruct(type, `${field}.`, offset, view, rows)
  if (type.kind === 'array') {
    for (let i = 0; i < type.count; i++)
      visit(type.element, `${field}[${i}]`, offset + i * type.element.size, view, rows)
    return
  }
  const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, type.size).slice()
  rows.push({ offset, bytes, field, value: text(type, bytes, offset, view) })
}

function text(
  type: Exclude<FieldType, { kind: 'struct' | 'array' }>,
  bytes: Uint8Array,
  offset: number,
  view: DataView,
): string {
  if (type.kind === 'bytes') return ''
  if (type.kind === 'pad') return bytes.every((byte) => byte === 0) ? '' : 'not zero'
  const value = view[type.get](offset, true)
  return value >= -9 && value <= 9 ? String(value) : `${value} (${hex(value)})`
}

/** At most eight bytes per line: enough for every number; long runs end in their length. */
function shortened(bytes: Uint8Array): string {
  return bytes.length <= 8 ? hexBytes(bytes, ' ') : `${hexBytes(bytes.subarray(0, 5), ' ')} … (${bytes.length})`
}
