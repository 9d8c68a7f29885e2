import { expect, test } from 'vitest'
import { MemoryBlockStore } from '../src/index.ts'
import { fc, runs } from './property.ts'
import { Gate, PAGE, pattern, TestDriver } from './rig.ts'

const READ = 2
const WRITE = 1
const LIST = 0x7000
const blocks = 1024
const contents = pattern(blocks * 512)

const started = () => {
  const store = new MemoryBlockStore(contents.slice())
  return { store, driver: new TestDriver(store).start() }
}

/** Writes PRP entries at a bus address. */
function list(driver: TestDriver, at: number, entries: readonly number[]): void {
  const { view } = driver.machine.memory
  entries.forEach((entry, i) => view.setBigUint64(driver.offset(at + 8 * i), BigInt(entry), true))
}

const delivered = (driver: TestDriver, pieces: readonly (readonly [address: number, length: number])[]) =>
  Buffer.concat(pieces.map(([address, length]) => driver.bytes(address, length)))

test('one page: PRP1 alone, with an offset (NVMe 1.4 4.3)', () => {
  const { driver } = started()
  expect(driver.transfer(READ, 0, 1, 0x8000 + PAGE - 512, 0xdead_b000).status).toBe(0)
  expect(Buffer.compare(driver.bytes(0x8000 + PAGE - 512, 512), contents.subarray(0, 512))).toBe(0)
})

test('two pages: PRP2 is the second page, also after a PRP1 with an offset (NVMe 1.4 4.3)', () => {
  const { driver } = started()
  expect(driver.transfer(READ, 8, 2, 0x8000 + PAGE - 4, 0x20_0000).status).toBe(0)
  const data = delivered(driver, [
    [0x8000 + PAGE - 4, 4],
    [0x20_0000, 1020],
  ])
  expect(Buffer.compare(data, contents.subarray(8 * 512, 10 * 512))).toBe(0)
})

test('more pages: PRP2 is a list, whose entries need not be in order (NVMe 1.4 4.3)', () => {
  const { driver } = started()
  list(driver, LIST, [0x22_0000, 0x1_0000_3000, 0x21_0000])
  expect(driver.transfer(READ, 0, 28, 0x8800, LIST).status).toBe(0)
  const data = delivered(driver, [
    [0x8800, 2048],
    [0x22_0000, PAGE],
    [0x1_0000_3000, PAGE],
    [0x21_0000, PAGE],
  ])
  expect(Buffer.compare(data, contents.subarray(0, 28 * 512))).toBe(0)
})

test('a list that does not fit in front of the end of its page goes on in the page that its last entry names (NVMe 1.4 4.3)', () => {
  const { driver } = started()
  list(driver, LIST + PAGE - 16, [0x20_0000, 0x6000])
  list(driver, 0x6000, [0x21_0000, 0x22_0000])
  expect(driver.transfer(READ, 0, 32, 0x8000, LIST + PAGE - 16).status).toBe(0)
  const data = delivered(driver, [
    [0x8000, PAGE],
    [0x20_0000, PAGE],
    [0x21_0000, PAGE],
    [0x22_0000, PAGE],
  ])
  expect(Buffer.compare(data, contents.subarray(0, 32 * 512))).toBe(0)
})

test('the last entry of a page is data when it is the last of all, and a lone entry there can be only a chain', () => {
  const { driver } = started()
  list(driver, LIST + PAGE - 16, [0x20_0000, 0x21_0000])
  expect(driver.transfer(READ, 0, 24, 0x8000, LIST + PAGE - 16).status).toBe(0)
  expect(Buffer.compare(driver.bytes(0x21_0000, PAGE), contents.subarray(2 * PAGE, 3 * PAGE))).toBe(0)
  list(driver, LIST + PAGE - 8, [0x6000])
  list(driver, 0x6000, [0x22_0000, 0x23_0000])
  expect(driver.transfer(READ, 0, 24, 0x8000, LIST + PAGE - 8).status).toBe(0)
  expect(Buffer.compare(driver.bytes(0x23_0000, PAGE), contents.subarray(2 * PAGE, 3 * PAGE))).toBe(0)
})

test('only the entries that the transfer needs are fetched', () => {
  const { driver } = started()
  list(driver, LIST, [0x20_0000, 0x21_0000])
  driver.gate.log.length = 0
  driver.transfer(READ, 0, 24, 0x8000, LIST)
  expect(driver.gate.log.filter((entry) => entry.startsWith(`r${LIST.toString(16)}`))).toEqual(['r7000+16'])
})

test('pages that follow one another on the bus are one transfer', () => {
  const { driver } = started()
  list(driver, LIST, [0x9000, 0xa000, 0xc000])
  driver.gate.log.length = 0
  expect(driver.transfer(READ, 0, 32, 0x8000, LIST).status).toBe(0)
  expect(
    driver.gate.log.filter((entry) => entry.startsWith('w') && !entry.endsWith('+16') && !entry.endsWith('+4')),
  ).toEqual(['w8000+12288', 'wc000+4096'])
})

test('pages whose low words follow one another far apart on the bus are two transfers; over a 4 GiB boundary they are one', () => {
  const { driver } = started()
  const data = () => driver.gate.log.filter((entry) => /^w.*\+(4096|8192)$/.test(entry))
  driver.gate.log.length = 0
  // Low words 0xffe2_0000 and 0xffe2_1000, upper words 0xff and 0xfe.
  expect(driver.transfer(READ, 0, 16, Gate.translated + 0x2_0000, Gate.translated + 0x2_1000 - 2 ** 32).status).toBe(4)
  expect(data()).toHaveLength(2)
  driver.gate.log.length = 0
  expect(driver.transfer(READ, 0, 16, 2 ** 40 - PAGE, 2 ** 40).status).toBe(0)
  expect(data()).toEqual([`w${(2 ** 40 - PAGE).toString(16)}+8192`])
  expect(Buffer.compare(driver.bytes(2 ** 40 - PAGE, 2 * PAGE), contents.subarray(0, 2 * PAGE))).toBe(0)
})

test.each([
  ['PRP1 that is not a multiple of 4', (driver: TestDriver) => driver.transfer(READ, 0, 1, 0x8002)],
  ['PRP2 with an offset', (driver: TestDriver) => driver.transfer(READ, 0, 16, 0x8000, 0x9200)],
  ['list that is not a multiple of 8', (driver: TestDriver) => driver.transfer(READ, 0, 24, 0x8000, LIST + 4)],
  [
    'list entry with an offset',
    (driver: TestDriver) => {
      list(driver, LIST, [0x20_0000, 0x21_0004])
      return driver.transfer(READ, 0, 24, 0x8000, LIST)
    },
  ],
  [
    'chain with an offset',
    (driver: TestDriver) => {
      list(driver, LIST + PAGE - 8, [0x6008])
      return driver.transfer(READ, 0, 24, 0x8000, LIST + PAGE - 8)
    },
  ],
])('a %s is an invalid PRP offset, found before any data moves (NVMe 1.4 figure 127)', (_, run) => {
  const { driver } = started()
  expect(run(driver)).toMatchObject({ status: 0x13, dnr: true })
  expect(driver.device.counters.payload.untranslated).toBe(0)
})

test('a list that cannot be read is a data transfer error (NVMe 1.4 figure 127)', () => {
  const { driver } = started()
  driver.gate.block(LIST)
  expect(driver.transfer(READ, 0, 24, 0x8000, LIST).status).toBe(0x04)
  list(driver, 0x6000 + PAGE - 8, [LIST])
  expect(driver.transfer(READ, 0, 24, 0x8000, 0x6000 + PAGE - 8).status).toBe(0x04)
  expect(driver.device.counters.control.failed).toBe(2)
})

/** One transfer: pages drawn without repetition from both sides of the hole, an offset, and where the list lies. */
const layout = fc.record({
  write: fc.boolean(),
  block: fc.nat(blocks - 1),
  count: fc.integer({ min: 1, max: 160 }),
  offset: fc.nat(PAGE / 4 - 1).map((words) => words * 4),
  order: fc.shuffledSubarray(
    Array.from({ length: 400 }, (_, i) => i),
    { minLength: 30, maxLength: 30 },
  ),
  listAt: fc.constantFrom(0, 8, PAGE - 8, PAGE - 16, PAGE - 40),
  translated: fc.boolean(),
})

test('any layout of PRPs moves exactly the bytes of the blocks, and no others', () => {
  fc.assert(
    fc.property(fc.array(layout, { minLength: 1, maxLength: 4 }), (transfers) => {
      const { driver, store } = started()
      const model = contents.slice()
      let moved = 0
      for (const { write, block, count: wanted, offset, order, listAt, translated } of transfers) {
        const count = Math.min(wanted, blocks - block)
        const length = count * 512
        const base = translated ? Gate.translated : 0
        // Pages of the upper half of low RAM and of high RAM, some of them neighbours.
        const pages = order.map((i) => base + (i < 200 ? (512 + i) * PAGE : 0x1_0000_0000 + (i - 200) * PAGE))
        const pieces: [number, number][] = [[pages[0]! + offset, Math.min(length, PAGE - offset)]]
        for (let rest = length - pieces[0]![1], i = 1; rest > 0; rest -= PAGE, i++)
          pieces.push([pages[i]!, Math.min(rest, PAGE)])
        const listed = pieces.slice(1).map(([address]) => address)
        let prp2 = listed[0] ?? 0
        if (listed.length > 1) {
          prp2 = LIST + listAt
          const room = (PAGE - listAt) / 8
          const chained = listed.length > room
          list(driver, prp2, chained ? [...listed.slice(0, room - 1), 0x6000] : listed)
          if (chained) list(driver, 0x6000, listed.slice(room - 1))
        }
        const fence = pieces.map(
          ([address, size]) => [address + size, (PAGE - ((address + size) % PAGE)) % PAGE] as const,
        )
        if (write) {
          const data = pattern(length, block + 7)
          let at = 0
          for (const [address, size] of pieces) {
            driver.bytes(address, size).set(data.subarray(at, at + size))
            at += size
          }
          model.set(data, block * 512)
        } else {
          for (const [address, size] of pieces) driver.bytes(address, size).fill(0)
          for (const [address, size] of fence) driver.bytes(address, size).fill(0xfe)
        }
        expect(driver.transfer(write ? WRITE : READ, block, count, pieces[0]![0], prp2).status).toBe(0)
        moved += length
        if (!write) {
          expect(Buffer.compare(delivered(driver, pieces), model.subarray(block * 512, block * 512 + length))).toBe(0)
          for (const [address, size] of fence)
            expect(driver.bytes(address, size).every((byte) => byte === 0xfe)).toBe(true)
        }
        expect(Buffer.compare(store.contents, model)).toBe(0)
      }
      const { payload } = driver.device.counters
      expect(payload.translated + payload.untranslated).toBe(moved)
    }),
    runs(60),
  )
})
