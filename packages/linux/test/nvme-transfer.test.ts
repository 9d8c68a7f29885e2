/** From a mapped list to NVMe commands: physical region pages, NVM Express 1.4 section 4.3. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ScatterList } from '../src/index.ts'
import { CommandSlots } from '../src/drivers/nvme/command-slots.ts'
import { Transfer } from '../src/drivers/nvme/transfer.ts'
import { bootBare } from './support/bare.ts'

const { kernel } = bootBare({ commandLine: 'iommu=off' })
const slots = CommandSlots.create(kernel.dma.open(8), 20)!
const { words } = kernel.platform.memory
const entry = kernel.memory.allocate(64)!.at(0) >> 2

/** What a controller makes of PRP1, PRP2 and the list: the byte ranges of a command of `bytes` bytes. */
function ranges(bytes: number): [address: number, length: number][] {
  const read = (word: number): number => (words[word + 1]! >>> 0) * 2 ** 32 + (words[word]! >>> 0)
  const prp1 = read(entry + 6)
  const prp2 = read(entry + 8)
  const first = Math.min(bytes, 4096 - (prp1 % 4096))
  const result: [number, number][] = [[prp1, first]]
  const rest = Math.ceil((bytes - first) / 4096)
  for (let i = 0, left = bytes - first; i < rest; i++, left -= 4096) {
    // The bus address of a list is its machine address here.
    const address = rest === 1 ? prp2 : read((prp2 >> 2) + 2 * i)
    if (address % 4096 !== 0) throw new Error(`page ${i + 1} does not begin at a page`)
    result.push([address, Math.min(4096, left)])
  }
  return result
}

test('commands cover every byte of every segment once and in order, whole pages inside, and are as many as were announced', () => {
  const segment = fc.tuple(
    fc.nat({ max: 200 }),
    fc.constantFrom(0, 0, 0, 512, 3584),
    fc.constantFrom(512, 4096, 4096, 8192, 40960, 3584),
  )
  fc.assert(
    fc.property(
      fc.array(segment, { minLength: 1, maxLength: 32 }),
      fc.constantFrom(1, 2, 3, 16, 65),
      fc.boolean(),
      (segments, maxPages, high) => {
        const list = new ScatterList(32)
        const expected: number[] = []
        segments.forEach(([page, offset, length], i) => {
          const address = page * 4096 + offset + (high ? 0xffff_f000 : 0)
          list.dmaHigh[i] = Math.floor(address / 2 ** 32)
          list.dmaLow[i] = address % 2 ** 32
          list.dmaLengths[i] = length
          for (let at = address; at < address + length; at += 512) expected.push(at)
        })
        list.segments = segments.length
        const transfer = new Transfer(maxPages)
        transfer.begin(list)
        const seen: number[] = []
        let commands = 0
        while (transfer.more) {
          const id = slots.take()
          words.fill(0, entry, entry + 16)
          transfer.build(words, entry, slots, id)
          const parts = ranges(transfer.bytes)
          expect(parts.length).toBeLessThanOrEqual(maxPages)
          expect(transfer.bytes % 512).toBe(0)
          for (const [address, length] of parts) for (let at = address; at < address + length; at += 512) seen.push(at)
          slots.give(id)
          commands++
        }
        expect(seen).toEqual(expected)
        expect(Transfer.commands(list, maxPages)).toBe(commands)
      },
    ),
    { numRuns: 500 },
  )
})

test('a list lies in one page, and no two commands share one', () => {
  const ids = Array.from({ length: 20 }, () => slots.take())
  expect(new Set(ids.map((id) => slots.listWord[id])).size).toBe(20)
  for (const id of ids) expect((slots.listLow[id]! % 4096) + 512).toBeLessThanOrEqual(4096)
  expect(slots.freeCount).toBe(0)
  for (const id of ids) slots.give(id)
})
