import { LayoutError } from './errors.ts'
import { shapeOf, structCodec, type Codec, type NumberName, type StructCodec } from './schema.ts'

/** A number: its size and alignment in bytes, its range, and the DataView methods that move it. */
export interface NumberType {
  readonly kind: 'number'
  readonly name: NumberName
  readonly size: number
  readonly align: number
  readonly min: number | bigint
  readonly max: number | bigint
  readonly get:
    | 'getUint8'
    | 'getUint16'
    | 'getUint32'
    | 'getBigUint64'
    | 'getInt8'
    | 'getInt16'
    | 'getInt32'
    | 'getBigInt64'
  readonly set:
    | 'setUint8'
    | 'setUint16'
    | 'setUint32'
    | 'setBigUint64'
    | 'setInt8'
    | 'setInt16'
    | 'setInt32'
    | 'setBigInt64'
}

/** Bytes that must be zero. */
export interface PadType {
  readonly kind: 'pad'
  readonly size: number
  readonly align: 1
}

/** A fixed run of bytes. */
export interface BytesType {
  readonly kind: 'bytes'
  readonly size: number
  readonly align: 1
}

/** `count` elements behind one another. */
export interface ArrayType {
  readonly kind: 'array'
  readonly size: number
  readonly align: number
  readonly count: number
  readonly element: FieldType
}

/** Named fields at offsets. */
export interface StructType {
  readonly kind: 'struct'
  readonly name: string
  readonly size: number
  readonly align: number
  readonly fields: readonly FieldLayout[]
}

export type FieldType = NumberType | PadType | BytesType | ArrayType | StructType

/** One field: its offset in bytes from the start of its struct. */
export interface FieldLayout {
  readonly name: string
  readonly offset: number
  readonly type: FieldType
}

/** How a struct may deviate from natural layout. */
export interface StructOptions {
  /**
   * The largest alignment in force, in bytes: 4 is how 32-bit x86 lays out 64-bit fields. Default: none, natural
   * alignment.
   */
  readonly pack?: 1 | 2 | 4 | 8
}

const number = (
  name: NumberName,
  size: number,
  min: number | bigint,
  max: number | bigint,
  accessor: string,
): NumberType => ({
  kind: 'number',
  name,
  size,
  align: size,
  min,
  max,
  get: `get${accessor}` as NumberType['get'],
  set: `set${accessor}` as NumberType['set'],
})

const NUMBERS: Readonly<Record<NumberName, NumberType>> = {
  u8: number('u8', 1, 0, 0xff, 'Uint8'),
  u16: number('u16', 2, 0, 0xffff, 'Uint16'),
  u32: number('u32', 4, 0, 0xffff_ffff, 'Uint32'),
  u64: number('u64', 8, 0n, 2n ** 64n - 1n, 'BigUint64'),
  i8: number('i8', 1, -0x80, 0x7f, 'Int8'),
  i16: number('i16', 2, -0x8000, 0x7fff, 'Int16'),
  i32: number('i32', 4, -0x8000_0000, 0x7fff_ffff, 'Int32'),
  i64: number('i64', 8, -(2n ** 63n), 2n ** 63n - 1n, 'BigInt64'),
}

/** Names that restructure or JavaScript objects would treat specially, and integers, which objects reorder. */
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
const RESERVED_NAMES = new Set([
  'parent',
  '_startOffset',
  '_currentOffset',
  '_length',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'valueOf',
  'hasOwnProperty',
  'then',
])

/** A nested struct keeps the name, size and packing of its own declaration. */
const known = new WeakMap<StructCodec, StructType>()

/**
 * Builds the restructure schema of a struct and derives its layout; LayoutError for anything that a C compiler would
 * lay out otherwise.
 */
export function declareStruct(
  name: string,
  fields: readonly (readonly [string, Codec])[],
  options: StructOptions,
): { schema: StructCodec; layout: StructType } {
  if (!NAME.test(name)) throw new LayoutError(name, undefined, 'the name is not an identifier')
  if (fields.length === 0) throw new LayoutError(name, undefined, 'no fields')
  for (const [field] of fields) {
    if (!NAME.test(field) || RESERVED_NAMES.has(field))
      throw new LayoutError(name, field, 'the name cannot be used for a field')
  }
  const schema = structCodec(Object.fromEntries(fields))
  const layout = layOut(name, schema, options.pack ?? Number.POSITIVE_INFINITY)
  known.set(schema, layout)
  return { schema, layout }
}

function layOut(name: string, schema: StructCodec, pack: number): StructType {
  const fields: FieldLayout[] = []
  let offset = 0
  let align = 1
  for (const [field, codec] of Object.entries(schema.fields)) {
    const type = typeOf(name, field, codec)
    const needed = Math.min(type.align, pack)
    if (offset % needed !== 0)
      throw new LayoutError(
        name,
        field,
        `offset ${offset} is not aligned to ${needed}; insert pad(${needed - (offset % needed)}) before it`,
      )
    fields.push(Object.freeze({ name: field, offset, type }))
    offset += type.size
    align = Math.max(align, needed)
  }
  if (offset % align !== 0)
    throw new LayoutError(
      name,
      undefined,
      `size ${offset} is not a multiple of its alignment ${align}; append pad(${align - (offset % align)})`,
    )
  return Object.freeze({ kind: 'struct', name, size: offset, align, fields: Object.freeze(fields) })
}

function typeOf(struct: string, field: string, codec: unknown): FieldType {
  const shape = shapeOf(codec)
  switch (shape?.kind) {
    case 'number':
      return NUMBERS[shape.name]
    case 'pad':
      return Object.freeze({ kind: 'pad', size: shape.size, align: 1 })
    case 'bytes':
      return Object.freeze({ kind: 'bytes', size: shape.size, align: 1 })
    case 'array': {
      const element = typeOf(struct, field, shape.element)
      if (element.kind === 'pad') throw new LayoutError(struct, field, 'an array of padding; use one pad')
      return Object.freeze({
        kind: 'array',
        size: element.size * shape.count,
        align: element.align,
        count: shape.count,
        element,
      })
    }
    case 'struct': {
      const nested = known.get(shape.codec)
      if (nested !== undefined) return nested
      throw new LayoutError(struct, field, 'a nested restructure struct that struct() did not make')
    }
    default:
      throw new LayoutError(struct, field, 'not a fixed-size field')
  }
}
