import { describe, expect, test } from 'vitest'
import * as wire from '../src/index.ts'

const limits: [keyof typeof wire, number][] = [
  ['Pfn', 2 ** 41 - 1],
  ['Mfn', 2 ** 41 - 1],
  ['Gfn', 2 ** 41 - 1],
  ['Domid', 0xffff],
  ['GrantRef', 0xffff_ffff],
  ['Sbdf', 0xffff_ffff],
  ['SpaceId', 0xffff_ffff],
  ['Port', 0xffff_ffff],
  ['IoAddress', 2 ** 53 - 1],
  ['MachineAddress', 2 ** 53 - 1],
  ['GuestAddress', 2 ** 53 - 1],
]

describe.each(limits)('%s', (name, max) => {
  const make = wire[name] as (n: number) => number

  test('takes 0 to its limit and gives the very number', () => {
    expect(make(0)).toBe(0)
    expect(make(max)).toBe(max)
  })

  test.each([-1, max + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '1', 1n, undefined])('refuses %s', (n) => {
    expect(() => make(n as number)).toThrow(
      expect.objectContaining({ name: 'ValueError', code: 'value', struct: name }),
    )
  })
})

test('a frame number’s byte address is exact', () => {
  expect(Number.isSafeInteger(wire.Mfn(2 ** 41 - 1) * 4096)).toBe(true)
})
