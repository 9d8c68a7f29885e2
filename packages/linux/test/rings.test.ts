import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { blkif_request, blkif_response, blkif_x86_32_request, blkif_x86_32_response, ring_header } from '@iospace/abi'
import { BLKIF_LAYOUTS } from '../src/xen/io/blkif-protocol.ts'
import { BackRing, FrontRing } from '../src/xen/io/rings.ts'
import { bootBare } from './support/bare.ts'

const { kernel } = bootBare()
const page = kernel.memory.allocate(4096)!
const { memory } = kernel.platform
const field = (name: 'req_prod' | 'req_event' | 'rsp_prod' | 'rsp_event'): number =>
  page.read32(ring_header.offsets[name])

describe.each(['x86_64-abi', 'x86_32-abi'] as const)('a ring of 32 slots in the layout %s', (protocol) => {
  const layout = BLKIF_LAYOUTS[protocol]
  const pair = (start = 0): { front: FrontRing; back: BackRing } => {
    const front = new FrontRing(memory, page.pfn, 32, layout.slotSize)
    const back = new BackRing(memory, page.pfn, 32, layout.slotSize)
    front.reset()
    for (const name of ['req_prod', 'rsp_prod'] as const) page.write32(ring_header.offsets[name], start)
    for (const name of ['req_event', 'rsp_event'] as const) page.write32(ring_header.offsets[name], (start + 1) >>> 0)
    front.requestsWritten = front.responsesRead = start | 0
    back.requestsRead = back.responsesWritten = start | 0
    return { front, back }
  }

  test('all 32 slots fit the page and none overlaps the next (ring.h, blkif.h)', () => {
    const { front } = pair()
    const at = (index: number): number => front.slot(index) * 4 - page.at(0)
    expect(at(0)).toBe(64)
    expect(at(1) - at(0)).toBe(layout.slotSize)
    expect(at(31) + layout.slotSize).toBeLessThanOrEqual(4096)
    expect(at(32)).toBe(at(0))
  })

  test('words of the layout are the offsets of the ABI', () => {
    const request = protocol === 'x86_64-abi' ? blkif_request : blkif_x86_32_request
    const response = protocol === 'x86_64-abi' ? blkif_response : blkif_x86_32_response
    expect(layout.slotSize).toBe(protocol === 'x86_64-abi' ? 112 : 108)
    expect([layout.id, layout.sector, layout.segments].map((word) => word * 4)).toEqual([
      request.offsets.id,
      request.offsets.sector_number,
      request.offsets.seg,
    ])
    expect([layout.responseId * 4, layout.responseStatus * 4]).toEqual([
      response.offsets.id,
      response.offsets.operation,
    ])
  })

  test('indices run for ever: any mix of requests and responses keeps both sides in step, also where they wrap at 2^32', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0, 0x7fff_fff0, 0xffff_ffe0),
        fc.array(fc.integer({ min: 1, max: 32 }), { maxLength: 30 }),
        (start, bursts) => {
          const { front, back } = pair(start)
          for (const wanted of bursts) {
            const asked = Math.min(wanted, front.room)
            front.requestsWritten = (front.requestsWritten + asked) | 0
            front.push()
            expect(back.requests()).toBe(asked)
            back.requestsRead = (back.requestsRead + asked) | 0
            expect(back.requests()).toBe(0)
            const answered = Math.ceil(asked / 2)
            back.responsesWritten = (back.responsesWritten + answered) | 0
            back.push()
            expect(front.responses()).toBe(answered)
            front.responsesRead = (front.responsesRead + answered) | 0
            expect(front.room).toBe(32 - ((front.requestsWritten - front.responsesRead) >>> 0))
            // The rest is answered too, so that the next burst has room.
            const rest = asked - answered
            back.responsesWritten = (back.responsesWritten + rest) | 0
            back.push()
            front.responsesRead = (front.responsesRead + rest) | 0
          }
        },
      ),
    )
  })

  test('the other side is told only when it asked: one event for a burst, none while it is reading (ring.h, step 5)', () => {
    const { front, back } = pair()
    front.requestsWritten = 3
    expect(front.push()).toBe(true)
    front.requestsWritten = 5
    expect(front.push()).toBe(false)
    back.requestsRead = 5
    expect(back.finalCheck()).toBe(false)
    expect(field('req_event')).toBe(6)
    front.requestsWritten = 6
    expect(front.push()).toBe(true)
  })

  test('a busy front-end is told when a quarter of what is under way is answered, an idle one at once', () => {
    const { front, back } = pair()
    front.requestsWritten = 32
    front.push()
    back.requestsRead = 32
    expect(front.finalCheck()).toBe(false)
    expect(field('rsp_event')).toBe(9)
    const told = Array.from({ length: 32 }, (_, i) => {
      back.responsesWritten = i + 1
      const must = back.push()
      if (must) {
        front.responsesRead = i + 1
        expect(front.finalCheck()).toBe(false)
      }
      return must ? [i + 1] : []
    })
    expect(told.flat()).toEqual([9, 15, 20, 24, 27, 29, 30, 31, 32])
  })

  test('what comes between the last look and the sleep is seen by the final check', () => {
    const { front, back } = pair()
    front.requestsWritten = 1
    front.push()
    expect(back.finalCheck()).toBe(true)
    back.responsesWritten = 1
    back.requestsRead = 1
    back.push()
    expect(front.finalCheck()).toBe(true)
    front.responsesRead = 1
    expect(front.finalCheck()).toBe(false)
  })

  test.each([33, 0x8000_0000, 0xffff_ffff])('a request index %i ahead is impossible and is told', (ahead) => {
    const { back } = pair()
    page.write32(ring_header.offsets.req_prod, ahead)
    expect(back.requests()).toBe(-1)
  })

  test('32 unanswered requests are possible, 33 are not, wherever reading stands', () => {
    const { back } = pair()
    page.write32(ring_header.offsets.req_prod, 32)
    expect(back.requests()).toBe(32)
    back.requestsRead = 32
    page.write32(ring_header.offsets.req_prod, 33)
    expect(back.requests()).toBe(-1)
  })

  test('more responses than requests are impossible and are told', () => {
    const { front } = pair()
    front.requestsWritten = 2
    page.write32(ring_header.offsets.rsp_prod, 3)
    expect(front.responses()).toBe(-1)
  })
})
