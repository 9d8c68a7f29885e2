import { describe, expect, test } from 'vitest'
import {
  BLKIF_PROTOCOLS,
  BLKIF_RING_SLOTS,
  blkif_request,
  blkif_request_discard,
  blkif_response,
  blkif_x86_32_request,
  blkif_x86_32_request_discard,
  blkif_x86_32_response,
  ringMustNotify,
  ringOffset,
  ringSlots,
  ring_header,
} from '../src/index.ts'
import { fc } from './property.ts'
import { xen } from './xen-layout.ts'

test('ring header: the first 64 bytes of every *_sring (Xen headers)', () => {
  const { fields } = xen.structs['blkif_sring']!
  expect(ring_header.size).toBe(fields['ring']!.offset)
  for (const name of ['req_prod', 'req_event', 'rsp_prod', 'rsp_event', 'pvt'] as const)
    expect(ring_header.offsets[name]).toBe(fields[name]!.offset)
})

describe('blkif as 32-bit x86 lays it out: 64-bit fields aligned to 4', () => {
  test('request 108, discard 28, response 12 bytes', () => {
    expect([blkif_x86_32_request.size, blkif_x86_32_request_discard.size, blkif_x86_32_response.size]).toEqual([
      108, 28, 12,
    ])
    expect(blkif_x86_32_request.offsets).toEqual({
      operation: 0,
      nr_segments: 1,
      handle: 2,
      id: 4,
      sector_number: 12,
      seg: 20,
    })
    expect(blkif_x86_32_request_discard.offsets).toEqual({
      operation: 0,
      flag: 1,
      handle: 2,
      id: 4,
      sector_number: 12,
      nr_sectors: 20,
    })
    expect(blkif_x86_32_response.offsets).toEqual({ id: 0, operation: 8, pad0: 9, status: 10 })
  })

  test('the same request in both layouts differs by the four bytes behind handle', () => {
    const value = {
      ...blkif_request.zero(),
      operation: 1,
      nr_segments: 1,
      handle: 0xca00,
      id: 0x1122334455667788n,
      sector_number: 8n,
    }
    const wide = blkif_request.encode(value)
    const narrow = blkif_x86_32_request.encode(value)
    expect(narrow).toEqual(new Uint8Array([...wide.subarray(0, 4), ...wide.subarray(8)]))
  })

  test('32 slots in a page either way', () => {
    for (const { request, response, discard } of Object.values(BLKIF_PROTOCOLS)) {
      expect(ringSlots(request.size)).toBe(BLKIF_RING_SLOTS)
      expect(Math.max(response.size, discard.size)).toBeLessThanOrEqual(request.size)
    }
    expect([blkif_request.size, blkif_request_discard.size, blkif_response.size]).toEqual([112, 32, 16])
  })
})

describe('ring indices', () => {
  test('slots lie behind the header and inside the page, whatever the index', () => {
    fc.assert(
      fc.property(fc.nat({ max: 0xffff_ffff }), fc.integer({ min: 8, max: 512 }), (index, slotSize) => {
        const slots = ringSlots(slotSize)
        expect(Math.log2(slots) % 1).toBe(0)
        const at = ringOffset(index, slots, slotSize)
        expect(at).toBeGreaterThanOrEqual(64)
        expect(at + slotSize).toBeLessThanOrEqual(4096)
        expect(ringOffset((index + slots) >>> 0, slots, slotSize)).toBe(at)
        // An index read through a signed view names the same slot.
        expect(ringOffset(index | 0, slots, slotSize)).toBe(at)
      }),
    )
  })

  test('a producer notifies exactly when it passed the event index, across the wrap', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 0xffff_ffff }),
        fc.nat({ max: 64 }),
        fc.integer({ min: -80, max: 80 }),
        (before, step, distance) => {
          // The event index is the value of prod at which the consumer wants to hear; passed means before < event ≤
          // after.
          const passed = distance > 0 && distance <= step
          expect(ringMustNotify((before + distance) >>> 0, before, (before + step) >>> 0)).toBe(passed)
        },
      ),
    )
  })
})
