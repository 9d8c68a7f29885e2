import { LayoutError } from './errors.ts'
import { arrayCodec, bytesCodec, codecs, padCodec, type Codec } from './schema.ts'

declare const value: unique symbol

/** One field of a struct, or a whole struct used as one. `T` is the type its value has in the cold codecs. */
export interface Field<T> {
  /** Opaque: the restructure codec behind the field. */
  readonly codec: unknown
  readonly [value]?: T
}

/** Explicit padding: no value, written as zeros, checked by `firstNonZeroPad`. */
export interface Pad extends Field<never> {
  readonly pad: true
}

/** The fields of a struct in order of their offsets. */
export type Fields = Readonly<Record<string, Field<unknown>>>

/** The value type of a field or struct: `Value<typeof MapElement>`. */
export type Value<S extends Field<unknown>> = S extends Field<infer T> ? T : never

/** The value type of a set of fields: every field but the padding, mutable. */
export type ValueOf<F extends Fields> = {
  -readonly [K in keyof F as F[K] extends Pad ? never : K]: F[K] extends Field<infer T> ? T : never
}

const field = <T>(codec: Codec): Field<T> => Object.freeze({ codec })

/** Unsigned 8-bit number. */
export const u8: Field<number> = field(codecs.u8)
/** Unsigned 16-bit number, little-endian. */
export const u16: Field<number> = field(codecs.u16)
/** Unsigned 32-bit number, little-endian. */
export const u32: Field<number> = field(codecs.u32)
/** Unsigned 64-bit number, little-endian, a bigint. */
export const u64: Field<bigint> = field(codecs.u64)
/** Signed 8-bit number. */
export const i8: Field<number> = field(codecs.i8)
/** Signed 16-bit number, little-endian, two's complement. */
export const i16: Field<number> = field(codecs.i16)
/** Signed 32-bit number, little-endian, two's complement. */
export const i32: Field<number> = field(codecs.i32)
/** Signed 64-bit number, little-endian, two's complement, a bigint. */
export const i64: Field<bigint> = field(codecs.i64)

/** `n` bytes that must be zero. LayoutError unless n is a positive integer. */
export function pad(n: number): Pad {
  return Object.freeze({ codec: padCodec(count('pad', n)), pad: true as const })
}

/**
 * Exactly `n` bytes, a Uint8Array of its own (never a view of the buffer it came from). LayoutError unless n is a
 * positive integer.
 */
export function bytes(n: number): Field<Uint8Array> {
  return field(bytesCodec(count('bytes', n)))
}

/** Exactly `n` elements of one type, laid out without gaps. LayoutError unless n is a positive integer. */
export function array<T>(element: Field<T>, n: number): Field<readonly T[]> {
  return field(arrayCodec(element.codec as Codec, count('array', n)))
}

function count(what: string, n: number): number {
  if (!Number.isInteger(n) || n < 1)
    throw new LayoutError(what, undefined, `length ${String(n)} is not a positive integer`)
  return n
}
