import { expect, test } from 'vitest'
import { vtd } from '../../src/spec.ts'

test('every reason of the facts has a text of its own, and no other number', () => {
  const reasons = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26]
  expect(new Set(reasons.map((reason) => vtd.faultReasonText(reason))).size).toBe(reasons.length)
  expect([0, 0xf, 0x27, 0x30].map((reason) => vtd.faultReasonText(reason))).toEqual(
    Array.from({ length: 4 }, () => 'unknown reason'),
  )
})
