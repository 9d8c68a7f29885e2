import { describe, expect, test } from 'vitest'
import { formatSbdf, packSbdf, parseSbdf, unpackSbdf } from '../src/index.ts'
import { fc } from './property.ts'

test('segment 31–16, bus 15–8, device 7–3, function 2–0 (as domctl’s machine_sbdf)', () => {
  expect(packSbdf({ segment: 0xabcd, bus: 0x12, device: 0x1f, function: 7 })).toBe(0xabcd12ff)
  expect(packSbdf({ segment: 0, bus: 3, device: 0, function: 1 })).toBe(0x301)
})

test('text ↔ number', () => {
  expect(formatSbdf(0x301)).toBe('0000:03:00.1')
  expect(formatSbdf(0xabcd12ff)).toBe('abcd:12:1f.7')
  expect(parseSbdf('0000:03:00.1')).toBe(0x301)
  expect(parseSbdf('03:00.1')).toBe(0x301)
  expect(parseSbdf('ABCD:12:1F.7')).toBe(0xabcd12ff)
})

test.each([
  '',
  '03:00',
  '03:20.0',
  '03:00.8',
  '100:00:00',
  '0:03:00.1x',
  '10000:03:00.1',
  ' 03:00.1',
  '03:00.10',
  'g3:00.1',
  '-1:00.0',
])('%j is no address', (text) => {
  expect(parseSbdf(text)).toBeUndefined()
})

describe('parts out of range are ValueErrors', () => {
  test.each([{ segment: 0x10000 }, { bus: 0x100 }, { device: 32 }, { function: 8 }, { bus: -1 }, { device: 0.5 }])(
    '%o',
    (part) => {
      expect(() => packSbdf({ segment: 0, bus: 0, device: 0, function: 0, ...part })).toThrow(
        expect.objectContaining({ code: 'value', field: Object.keys(part)[0] }),
      )
    },
  )
})

test('pack undoes unpack, parse undoes format, for any number', () => {
  fc.assert(
    fc.property(fc.nat({ max: 0xffff_ffff }), (sbdf) => {
      expect(packSbdf(unpackSbdf(sbdf))).toBe(sbdf)
      expect(parseSbdf(formatSbdf(sbdf))).toBe(sbdf)
    }),
  )
})
