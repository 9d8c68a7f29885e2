import {
  array,
  bytes,
  i16,
  i32,
  i64,
  i8,
  pad,
  struct,
  u16,
  u32,
  u64,
  u8,
  type Field,
  type FieldType,
  type Struct,
  type StructType,
} from '../src/index.ts'
import { fc } from './property.ts'

interface Piece {
  readonly field: Field<unknown>
  readonly size: number
  readonly align: number
}

const numbers: readonly Piece[] = [
  { field: u8, size: 1, align: 1 },
  { field: u16, size: 2, align: 2 },
  { field: u32, size: 4, align: 4 },
  { field: u64, size: 8, align: 8 },
  { field: i8, size: 1, align: 1 },
  { field: i16, size: 2, align: 2 },
  { field: i32, size: 4, align: 4 },
  { field: i64, size: 8, align: 8 },
]

const number = fc.constantFrom(...numbers)
const run = fc.integer({ min: 1, max: 9 }).map((n): Piece => ({ field: bytes(n), size: n, align: 1 }))
const gap = fc.integer({ min: 1, max: 9 }).map((n): Piece => ({ field: pad(n), size: n, align: 1 }))

function piece(depth: number): fc.Arbitrary<Piece> {
  if (depth === 0) return fc.oneof(number, run, gap)
  const inner = fc.oneof(number, run, structs(depth - 1))
  const list = fc
    .tuple(inner, fc.integer({ min: 1, max: 4 }))
    .map(([element, n]): Piece => ({ field: array(element.field, n), size: element.size * n, align: element.align }))
  return fc.oneof({ weight: 4, arbitrary: number }, run, gap, structs(depth - 1), list)
}

let names = 0

/** Lays pieces out as a C compiler would, with the padding written out. */
function assemble(pieces: readonly Piece[]): Struct {
  const fields: Record<string, Field<unknown>> = {}
  let offset = 0
  let align = 1
  let pads = 0
  const fill = (to: number): void => {
    const missing = (to - (offset % to)) % to
    if (missing > 0) fields[`pad${pads++}`] = pad(missing)
    offset += missing
  }
  pieces.forEach(({ field, size, align: needed }, i) => {
    fill(needed)
    fields[`f${i}`] = field
    offset += size
    align = Math.max(align, needed)
  })
  fill(align)
  return struct(`s${names++}`, fields)
}

/** Structs as pieces of other structs. */
function structs(depth: number): fc.Arbitrary<Piece> {
  return fc.array(piece(depth), { minLength: 1, maxLength: 6 }).map((pieces) => {
    const made = assemble(pieces)
    return { field: made, size: made.size, align: made.align }
  })
}

/** Any struct: every number type, byte runs, padding, arrays, and structs in structs. */
export const anyStruct: fc.Arbitrary<Struct> = fc.array(piece(2), { minLength: 1, maxLength: 8 }).map(assemble)

/** Any value of a struct. */
export function valueOf(layout: StructType): fc.Arbitrary<Record<string, unknown>> {
  const members = layout.fields.filter((field) => field.type.kind !== 'pad')
  return fc.record(Object.fromEntries(members.map((field) => [field.name, ofType(field.type)])), {
    noNullPrototype: true,
  })
}

function ofType(type: FieldType): fc.Arbitrary<unknown> {
  switch (type.kind) {
    case 'number':
      return typeof type.min === 'bigint'
        ? fc.bigInt({ min: type.min, max: type.max as bigint })
        : fc.integer({ min: type.min, max: type.max as number })
    case 'bytes':
      return fc.uint8Array({ minLength: type.size, maxLength: type.size })
    case 'array':
      return fc.array(ofType(type.element), { minLength: type.count, maxLength: type.count })
    case 'struct':
      return valueOf(type)
    case 'pad':
      return fc.constant(undefined)
  }
}
