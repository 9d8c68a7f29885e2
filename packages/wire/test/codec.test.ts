import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { closures } from '../src/closures.ts'
import { canCompile, compile } from '../src/compile.ts'
import { BoundsError, array, bytes, pad, struct, u16, u32, u64, u8, type Struct } from '../src/index.ts'
import { anyStruct, valueOf } from './arbitrary.ts'
import { fc } from './property.ts'

interface Restructure {
  toBuffer(value: unknown): Uint8Array
  fromBuffer(bytes: Uint8Array): unknown
}

const withValue = anyStruct.chain((made) => fc.tuple(fc.constant(made), valueOf(made.layout)))
const withBytes = anyStruct.chain((made) =>
  fc.tuple(fc.constant(made), fc.uint8Array({ minLength: made.size, maxLength: made.size })),
)
const restructure = (made: Struct): Restructure => made.schema as Restructure

/** The two makers of codecs, each a rule's subject: what is compiled must not differ from what is interpreted. */
const makers = [
  ['compiled', compile],
  ['closures', closures],
] as const

describe.each(makers)('%s codecs and restructure agree on every struct', (_, make) => {
  test('write gives the bytes of restructure’s encode, wherever in the view', () => {
    fc.assert(
      fc.property(withValue, fc.integer({ min: 0, max: 17 }), ([made, value], at) => {
        const view = new DataView(new ArrayBuffer(made.size + at + 3))
        new Uint8Array(view.buffer).fill(0xee)
        make(made.layout).write(view, at, value)
        const all = new Uint8Array(view.buffer)
        expect(all.slice(at, at + made.size)).toEqual(restructure(made).toBuffer(value))
        expect([...all.slice(0, at), ...all.slice(at + made.size)].every((byte) => byte === 0xee)).toBe(true)
      }),
    )
  })

  test('read gives the value of restructure’s decode', () => {
    fc.assert(
      fc.property(withBytes, ([made, data]) => {
        expect(make(made.layout).read(new DataView(data.buffer, data.byteOffset, data.length), 0)).toEqual(
          restructure(made).fromBuffer(data),
        )
      }),
    )
  })

  test('readInto overwrites every field in place', () => {
    fc.assert(
      fc.property(withBytes, ([made, data]) => {
        const view = new DataView(data.buffer, data.byteOffset, data.length)
        const target = made.zero() as Record<string, unknown>
        const before = { ...target }
        expect(make(made.layout).readInto(view, 0, target)).toBe(target)
        expect(target).toEqual(make(made.layout).read(view, 0))
        for (const [name, held] of Object.entries(before)) if (typeof held === 'object') expect(target[name]).toBe(held)
      }),
    )
  })

  test('firstNonZeroPad finds a byte exactly where writing the value back would lose it', () => {
    fc.assert(
      fc.property(withBytes, ([made, data]) => {
        const view = new DataView(data.buffer, data.byteOffset, data.length)
        const again = made.encode(made.decode(data))
        const lost = data.some((byte, i) => byte !== again[i])
        expect(make(made.layout).firstNonZeroPad(view, 0) !== undefined).toBe(lost)
        expect(make(made.layout).firstNonZeroPad(new DataView(again.buffer), 0)).toBeUndefined()
      }),
    )
  })

  test('a place that leaves the view is a BoundsError before the first byte', () => {
    const pair = struct('pair', { a: u32, b: u32 })
    const codec = make(pair.layout)
    for (const at of [-1, 1, 8, Number.NaN]) {
      const view = new DataView(new ArrayBuffer(8))
      expect(() => codec.read(view, at)).toThrow(BoundsError)
      expect(() => codec.readInto(view, at, { a: 0, b: 0 })).toThrow(BoundsError)
      expect(() => codec.write(view, at, { a: -1, b: -1 })).toThrow(BoundsError)
      expect(() => codec.firstNonZeroPad(view, at)).toThrow(BoundsError)
      expect(new Uint8Array(view.buffer).every((byte) => byte === 0)).toBe(true)
    }
  })

  test('padding inside arrays is named with its index', () => {
    const inner = struct('inner', { a: u8, pad0: pad(1), b: u16 })
    const outer = struct('outer', { list: array(inner, 3), one: inner, pad0: pad(4), tail: u32 })
    const data = new Uint8Array(outer.size)
    const first = (): string | undefined => make(outer.layout).firstNonZeroPad(new DataView(data.buffer), 0)
    data[outer.offsets.pad0 + 3] = 1
    expect(first()).toBe('pad0')
    data[outer.offsets['one.pad0']] = 1
    expect(first()).toBe('one.pad0')
    data[outer.offsets.list + 2 * inner.size + inner.offsets.pad0] = 1
    expect(first()).toBe('list[2].pad0')
  })
})

test('decoded bytes are copies: a later change of the buffer does not reach them (time of check, time of use)', () => {
  const blob = struct('blob', { raw: bytes(4) })
  const memory = Buffer.from([1, 2, 3, 4])
  const value = blob.decode(memory)
  memory.fill(9)
  expect([...value.raw]).toEqual([1, 2, 3, 4])
})

test('structs in shared memory are read like others', () => {
  const shared = struct('shared', { a: u64, raw: bytes(8) })
  const view = new DataView(new SharedArrayBuffer(16))
  shared.write(view, 0, { a: 5n, raw: new Uint8Array(8).fill(7) })
  expect(shared.read(view, 0)).toEqual({ a: 5n, raw: new Uint8Array(8).fill(7) })
})

test('tests run on compiled codecs', () => {
  expect(canCompile).toBe(true)
})

test('a host that forbids code generation gets the same bytes', () => {
  const source = (file: string): string => JSON.stringify(new URL(`../src/${file}`, import.meta.url).href)
  const program = `import { struct, u16, u64, pad } from ${source('index.ts')};
    import { canCompile } from ${source('compile.ts')};
    const s = struct('s', { a: u16, pad0: pad(6), b: u64 });
    process.stdout.write(canCompile + ' ' + Buffer.from(s.encode({ a: 0x1234, b: 2n ** 63n })).toString('hex'));`
  const flags = ['--disallow-code-generation-from-strings', '--input-type=module', '--eval', program]
  const { stdout, stderr } = spawnSync(process.execPath, flags, {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    encoding: 'utf8',
  })
  expect(stdout, stderr).toBe('false 34120000000000000000000000000080')
})
