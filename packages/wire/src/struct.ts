import { checkValue } from './check.ts'
import { closures } from './closures.ts'
import type { StructCodecs } from './codec.ts'
import { canCompile, compile } from './compile.ts'
import { LengthError, ValueError } from './errors.ts'
import type { Field, Fields, ValueOf } from './field.ts'
import { declareStruct, type StructOptions, type StructType } from './layout.ts'
import type { Codec } from './schema.ts'
import { tablesOf } from './tables.ts'

/** The dotted paths of a struct's fields, those of nested structs included: `'source' | 'source.offset' | …`. */
export type Path<F extends Fields> = {
  [K in keyof F & string]: F[K] extends { readonly fields: infer G extends Fields } ? K | `${K}.${Path<G>}` : K
}[keyof F & string]

/** A fixed layout of bytes and everything that can be known from it. Frozen; usable as a field of another struct. */
export interface Struct<F extends Fields = Fields> extends Field<ValueOf<F>> {
  /** The C name. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Bytes; `size` is a multiple of it. */
  readonly align: number
  /** The fields as they were declared. */
  readonly fields: F
  /** Byte offset by field path. */
  readonly offsets: Readonly<Record<Path<F>, number>>
  /**
   * Index of the u32 word that holds the field's first byte; a u64's high word is one further. For hot code: `u32[base
   * + S.words.gfn]`.
   */
  readonly words: Readonly<Record<Path<F>, number>>
  /** The field's lowest bit in that word: 0, 8, 16 or 24. */
  readonly shifts: Readonly<Record<Path<F>, number>>
  /** Names, offsets and types, for tables, headers and dumps. */
  readonly layout: StructType
  /** Opaque: the restructure struct that everything here is derived from. */
  readonly schema: unknown

  /** A new value from `size` bytes at `at`. BoundsError when they leave the view. */
  read(view: DataView, at: number): ValueOf<F>
  /** Overwrites every field of `target`, nested objects, arrays and byte arrays in place, and returns it. */
  readInto(view: DataView, at: number, target: ValueOf<F>): ValueOf<F>
  /** Writes all bytes, padding as zeros. Values are not checked and wrap as a DataView wraps them; `encode` checks. */
  write(view: DataView, at: number, value: ValueOf<F>): void
  /** The path of the first padding that is not zero. */
  firstNonZeroPad(view: DataView, at: number): string | undefined

  /** A new value from exactly `size` bytes. LengthError otherwise. */
  decode(bytes: Uint8Array): ValueOf<F>
  /** New bytes. ValueError or LengthError for the first field that does not fit. */
  encode(value: ValueOf<F>): Uint8Array
  /** Throws what `encode` would throw. */
  check(value: ValueOf<F>): void
  /** A value of zeros, to be filled in: `S.encode({ ...S.zero(), count: 1 })`. */
  zero(): ValueOf<F>
}

/**
 * Declares a struct. Fields lie behind one another in the order given; nothing is inserted, so padding must be written
 * out. LayoutError for a field that is not at a multiple of its alignment, for a size that is not a multiple of the
 * struct's, and for names that objects or restructure treat specially.
 */
export function struct<F extends Fields>(name: string, fields: F, options: StructOptions = {}): Struct<F> {
  const entries = Object.entries(fields).map(([field, { codec }]) => [field, codec as Codec] as const)
  const { schema, layout } = declareStruct(name, entries, options)
  const { read, readInto, write, firstNonZeroPad } = (
    canCompile ? compile(layout) : closures(layout)
  ) satisfies StructCodecs
  const size = layout.size
  const self = {
    name,
    size,
    align: layout.align,
    fields,
    ...tablesOf(layout),
    layout,
    codec: schema,
    schema,
    read,
    readInto,
    write,
    firstNonZeroPad,
    decode(bytes: Uint8Array): object {
      if (!(bytes instanceof Uint8Array)) throw new ValueError(name, undefined, undefined, bytes, 'is not a Uint8Array')
      if (bytes.length !== size) throw new LengthError(name, undefined, size, bytes.length)
      return read(new DataView(bytes.buffer, bytes.byteOffset, size), 0)
    },
    encode(value: object): Uint8Array {
      checkValue(layout, value)
      const bytes = new Uint8Array(size)
      write(new DataView(bytes.buffer), 0, value)
      return bytes
    },
    check(value: object): void {
      checkValue(layout, value)
    },
    zero(): object {
      return read(new DataView(new ArrayBuffer(size)), 0)
    },
  }
  made.add(Object.freeze(self))
  // The codecs are untyped inside; the declaration above is what ties them to F.
  return self as unknown as Struct<F>
}

const made = new WeakSet<object>()

/** Whether a value is a struct that `struct` made. */
export function isStruct(value: unknown): value is Struct {
  return typeof value === 'object' && value !== null && made.has(value)
}
