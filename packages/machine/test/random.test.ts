import { expect, test } from 'vitest'
import { Random } from '../src/index.ts'
import { fc, runs } from './property.ts'

const draw = (random: Random, count = 8) => Array.from({ length: count }, () => random.next())

test('the same seed gives the same numbers, two seeds differ', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer(), (a, b) => {
      fc.pre(a >>> 0 !== b >>> 0)
      expect(draw(new Random(a))).toEqual(draw(new Random(a)))
      expect(draw(new Random(a))).not.toEqual(draw(new Random(b)))
    }),
  )
})

test('below stays in range and reaches every value', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 20 }), (seed, bound) => {
      const random = new Random(seed)
      const seen = new Set(Array.from({ length: 60 * bound }, () => random.below(bound)))
      expect([...seen].sort((x, y) => x - y)).toEqual(Array.from({ length: bound }, (_, i) => i))
    }),
    runs(50),
  )
})

test('bits are balanced: each of the 32 is set in about half of 20,000 draws', () => {
  const random = new Random(7)
  const ones = Array.from({ length: 32 }, () => 0)
  for (let i = 0; i < 20000; i++) {
    const value = random.next()
    for (let bit = 0; bit < 32; bit++) ones[bit]! += (value >>> bit) & 1
  }
  // Ten standard deviations: 10 × √20000 / 2.
  for (const count of ones) expect(Math.abs(count - 10000)).toBeLessThan(707)
})

test('shuffle keeps the elements and depends on the seed', () => {
  const list = Uint32Array.from({ length: 50 }, (_, i) => i)
  const one = new Random(1).shuffle(list.slice())
  const two = new Random(2).shuffle(list.slice())
  expect(one).not.toEqual(two)
  expect(one.slice().sort()).toEqual(list)
})

test('a fork draws without changing what its parent draws next', () => {
  const parent = new Random(3)
  const untouched = new Random(3)
  const fork = parent.fork()
  untouched.next()
  draw(fork, 100)
  expect(draw(parent)).toEqual(draw(untouched))
  expect(draw(fork)).not.toEqual(draw(parent))
})
