import { expect, test } from 'vitest'
import { minimise } from './differential/minimise.ts'

test('minimising leaves what a failure needs, and nothing else', () => {
  const from = Array.from({ length: 300 }, (_, i) => i)
  let tries = 0
  const fails = (kept: readonly number[]) => {
    tries++
    const places = [17, 18, 250].map((index) => kept.indexOf(index))
    return places.includes(-1) ? null : Math.max(...places)
  }
  expect(minimise(from, fails)).toEqual([17, 18, 250])
  expect(tries).toBeLessThan(200)
})

test('a failure of the whole list is made small too', () => {
  const fails = (kept: readonly number[]) => (kept.includes(3) && kept.includes(40) ? -1 : null)
  expect(
    minimise(
      Array.from({ length: 50 }, (_, i) => i),
      fails,
    ),
  ).toEqual([3, 40])
})
