import { expectTypeOf } from 'vitest'
import {
  Domid,
  Gfn,
  Mfn,
  type Pfn,
  array,
  bytes,
  pad,
  struct,
  u16,
  u32,
  u64,
  type Path,
  type Struct,
  type Value,
} from '../src/index.ts'

const point = struct('point', { x: u16, y: u16 })
const sample = struct('sample', {
  address: u64,
  count: u32,
  pad0: pad(4),
  at: point,
  list: array(point, 2),
  raw: bytes(8),
  pad1: pad(4),
})

// A value has every field but the padding; 64-bit numbers are bigints.
expectTypeOf<Value<typeof sample>>().toEqualTypeOf<{
  address: bigint
  count: number
  at: { x: number; y: number }
  list: readonly { x: number; y: number }[]
  raw: Uint8Array
}>()
expectTypeOf(sample.decode(new Uint8Array(0))).toEqualTypeOf<Value<typeof sample>>()

// Tables are indexed by dotted path, padding included.
expectTypeOf<Path<(typeof sample)['fields']>>().toEqualTypeOf<
  'address' | 'count' | 'pad0' | 'at' | 'at.x' | 'at.y' | 'list' | 'raw' | 'pad1'
>()
expectTypeOf(sample.words['at.y']).toEqualTypeOf<number>()
// @ts-expect-error no such field
void sample.words.gfn

// Encoding needs every field.
// @ts-expect-error raw is missing
void (() => sample.encode({ address: 0n, count: 0, at: { x: 0, y: 0 }, list: [] }))
// @ts-expect-error a number is not a bigint
void (() => point.encode({ x: 1n, y: 2 }))

// Every struct can be kept in a list of structs.
expectTypeOf<typeof sample>().toExtend<Struct>()

// Brands do not mix, and a plain number is no branded one; a branded one is a number.
expectTypeOf(Mfn(1)).toExtend<number>()
expectTypeOf(Mfn(1)).not.toExtend<Pfn>()
expectTypeOf(Gfn(1)).not.toExtend<Mfn>()
expectTypeOf<number>().not.toExtend<Domid>()
expectTypeOf(Domid(0)).toEqualTypeOf<Domid>()
