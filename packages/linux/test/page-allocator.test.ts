import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MAX_ORDER, orderOf, PageAllocator, SlotAllocator } from '../src/index.ts'

test('blocks are aligned to their size, never overlap, and all memory comes back as it was (buddy system)', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.array(fc.nat({ max: 5 }), { maxLength: 60 }),
      fc.nat(),
      (pages, orders, pick) => {
        const allocator = new PageAllocator(pages)
        allocator.release(0, pages)
        const owner = new Int32Array(pages).fill(-1)
        const blocks: { pfn: number; order: number }[] = []
        orders.forEach((order, i) => {
          const pfn = allocator.allocate(order)
          if (pfn < 0) {
            const victim = blocks.splice(pick % Math.max(1, blocks.length), 1)[0]
            if (victim === undefined) return
            owner.fill(-1, victim.pfn, victim.pfn + (1 << victim.order))
            allocator.free(victim.pfn)
            return
          }
          expect(pfn % (1 << order)).toBe(0)
          for (let page = pfn; page < pfn + (1 << order); page++) {
            expect(owner[page]).toBe(-1)
            owner[page] = i
          }
          blocks.push({ pfn, order })
        })
        for (const { pfn } of blocks) allocator.free(pfn)
        expect(allocator.freePages).toBe(pages)
        const largest = Math.min(MAX_ORDER, Math.floor(Math.log2(pages)))
        expect(allocator.allocate(largest)).toBeGreaterThanOrEqual(0)
      },
    ),
  )
})

test('a block is freed once, by its first page', () => {
  const allocator = new PageAllocator(8)
  allocator.release(0, 8)
  const pfn = allocator.allocate(1)
  expect(() => allocator.free(pfn + 1)).toThrow(/does not begin an allocated block/)
  allocator.free(pfn)
  expect(() => allocator.free(pfn)).toThrow(/does not begin an allocated block/)
})

test('the block of a page that was withheld is freed and never given out again; its neighbours are', () => {
  const allocator = new PageAllocator(16)
  allocator.release(0, 16)
  const pfn = allocator.allocate(1)
  allocator.withhold(pfn + 1)
  allocator.free(pfn)
  expect(allocator.freePages).toBe(14)
  const rest = Array.from({ length: 14 }, () => allocator.allocate(0))
  expect([rest.includes(-1), rest.includes(pfn), rest.includes(pfn + 1), allocator.allocate(0)]).toEqual([
    false,
    false,
    false,
    -1,
  ])
})

test('the order of a count of pages is the next power of two', () => {
  expect([0, 1, 2, 3, 4, 5, 64, 65].map(orderOf)).toEqual([0, 0, 1, 2, 2, 3, 6, 7])
})

test('spare slots are runs above memory, given once and taken back once', () => {
  const slots = new SlotAllocator(100, 110)
  const run = slots.allocate(8)
  expect(run).toBeGreaterThanOrEqual(100)
  expect(slots.allocate(3)).toBe(-1)
  slots.free(run, 8)
  expect(() => slots.free(run)).toThrow(/is not allocated/)
  slots.reserve(104)
  expect(slots.allocate(6)).toBe(-1)
  expect(slots.allocate(5)).toBe(105)
  expect(slots.freeSlots).toBe(4)
})
