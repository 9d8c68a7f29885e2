/**
 * The part of restructure 3.0.2 that wire uses; the package ships no types. Only `schema.ts` imports it,
 * and no public type mentions it.
 */
declare module 'restructure' {
  export class EncodeStream {
    readonly view: DataView
    pos: number
  }
  export class DecodeStream {
    readonly view: DataView
    pos: number
  }
  /** Not a value: the package keeps its base class to itself. */
  abstract class Base<T> {
    fromBuffer(bytes: Uint8Array): T
    toBuffer(value: T): Uint8Array
    decode(stream: DecodeStream, parent?: unknown): T
    encode(stream: EncodeStream, value: T, parent?: unknown): void
    size(value?: T | null, parent?: unknown): number
  }
  class NumberT<T = number> extends Base<T> {
    constructor(type: string, endian?: 'BE' | 'LE')
    readonly type: string
    readonly endian: 'BE' | 'LE'
  }
  class ArrayT extends Base<unknown[]> {
    constructor(type: Base<unknown>, length: number)
    readonly type: Base<unknown>
    readonly length: number
  }
  class BufferT extends Base<Uint8Array> {
    constructor(length: number)
    readonly length: number
  }
  export { ArrayT as Array, type Base, BufferT as Buffer, NumberT as Number }
  export class Reserved extends Base<undefined> {
    constructor(type: Base<number>, count: number)
    readonly type: Base<number>
    readonly count: number
  }
  export class Struct extends Base<Record<string, unknown>> {
    constructor(fields: Record<string, Base<unknown>>)
    readonly fields: Readonly<Record<string, Base<unknown>>>
  }
  export const uint8: NumberT
  export const uint16le: NumberT
  export const uint32le: NumberT
  export const int8: NumberT
  export const int16le: NumberT
  export const int32le: NumberT
}
