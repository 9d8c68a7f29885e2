/// <reference path="./restructure.d.ts" />
/**
 * The one file that imports restructure. A struct's restructure schema is its single source: layout tables, checks and
 * compiled codecs are all derived from it. Everything here is little-endian; restructure's unsuffixed numbers are not.
 */
import * as r from 'restructure'

/**
 * A restructure codec as the rest of wire sees it. restructure ships no types, so none may appear in what this file
 * exports.
 */
export interface Codec {
  fromBuffer(bytes: Uint8Array): unknown
  toBuffer(value: unknown): Uint8Array
}

/** The codec of a struct. */
export interface StructCodec extends Codec {
  readonly fields: Readonly<Record<string, unknown>>
}

export type NumberName = 'u8' | 'u16' | 'u32' | 'u64' | 'i8' | 'i16' | 'i32' | 'i64'

/**
 * restructure has no 64-bit numbers; its streams' own 64-bit methods lose the position, so these go through the
 * stream's DataView.
 */
class Big extends r.Number<bigint> {
  readonly signed: boolean

  constructor(signed: boolean) {
    super(signed ? 'Int64' : 'UInt64', 'LE')
    this.signed = signed
  }

  override size(): number {
    return 8
  }

  override decode(stream: r.DecodeStream): bigint {
    const at = stream.pos
    stream.pos = at + 8
    return this.signed ? stream.view.getBigInt64(at, true) : stream.view.getBigUint64(at, true)
  }

  override encode(stream: r.EncodeStream, value: bigint): void {
    const at = stream.pos
    stream.pos = at + 8
    stream.view.setBigUint64(at, BigInt.asUintN(64, value), true)
  }
}

export const codecs: Readonly<Record<NumberName, Codec>> = {
  u8: r.uint8,
  u16: r.uint16le,
  u32: r.uint32le,
  u64: new Big(false),
  i8: r.int8,
  i16: r.int16le,
  i32: r.int32le,
  i64: new Big(true),
}

export const padCodec = (bytes: number): Codec => new r.Reserved(r.uint8, bytes)
export const bytesCodec = (length: number): Codec => new r.Buffer(length)
export const arrayCodec = (element: Codec, count: number): Codec => new r.Array(element as r.Base<unknown>, count)
export const structCodec = (fields: Record<string, Codec>): StructCodec =>
  new r.Struct(fields as Record<string, r.Base<unknown>>)

/**
 * What a restructure codec is, in our words; `undefined` for the kinds that an ABI must not use (pointers, variable
 * lengths, hooks).
 */
export type CodecShape =
  | { readonly kind: 'number'; readonly name: NumberName }
  | { readonly kind: 'pad'; readonly size: number }
  | { readonly kind: 'bytes'; readonly size: number }
  | { readonly kind: 'array'; readonly element: Codec; readonly count: number }
  | { readonly kind: 'struct'; readonly codec: StructCodec }

const names = new Map<unknown, NumberName>(Object.entries(codecs).map(([name, codec]) => [codec, name as NumberName]))

export function shapeOf(codec: unknown): CodecShape | undefined {
  const name = names.get(codec)
  if (name !== undefined) return { kind: 'number', name }
  if (codec instanceof r.Reserved && codec.type === r.uint8) return { kind: 'pad', size: codec.count }
  if (codec instanceof r.Buffer) return { kind: 'bytes', size: codec.length }
  if (codec instanceof r.Array) return { kind: 'array', element: codec.type, count: codec.length }
  if (codec instanceof r.Struct) return { kind: 'struct', codec }
  return undefined
}
