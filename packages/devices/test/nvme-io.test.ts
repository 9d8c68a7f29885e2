import { expect, test } from 'vitest'
import { MemoryBlockStore, StoreStatus } from '../src/index.ts'
import { Gate, pattern, TestDriver } from './rig.ts'

const BUFFER = 0x8000
const READ = 2
const WRITE = 1
const FLUSH = 0

const contents = pattern(20 * 512)

function started(
  store = new MemoryBlockStore(contents.slice()),
  options: ConstructorParameters<typeof TestDriver>[1] = {},
) {
  return { store, driver: new TestDriver(store, options).start() }
}

test('Read delivers the blocks that it names, bytes unchanged (NVMe 1.4 6.9)', () => {
  const { driver } = started()
  expect(driver.transfer(READ, 3, 2, BUFFER).status).toBe(0)
  expect(Buffer.compare(driver.bytes(BUFFER, 1024), contents.subarray(3 * 512, 5 * 512))).toBe(0)
  expect(driver.bytes(BUFFER + 1024, 64).every((byte) => byte === 0)).toBe(true)
})

test('Write stores the blocks, and what is read back is what was written (NVMe 1.4 6.15)', () => {
  const { driver, store } = started()
  const data = pattern(1024, 99)
  driver.bytes(BUFFER, 1024).set(data)
  expect(driver.transfer(WRITE, 18, 2, BUFFER).status).toBe(0)
  expect(Buffer.compare(store.contents.subarray(18 * 512), data)).toBe(0)
  expect(Buffer.compare(store.contents.subarray(0, 18 * 512), contents.subarray(0, 18 * 512))).toBe(0)
  driver.transfer(READ, 18, 2, BUFFER + 0x2000)
  expect(Buffer.compare(driver.bytes(BUFFER + 0x2000, 1024), data)).toBe(0)
})

test('Flush reaches the store, for the namespace and for all of them (NVMe 1.4 6.8)', () => {
  const { driver, store } = started()
  expect(driver.run(1, { opcode: FLUSH, nsid: 1 }).status).toBe(0)
  expect(driver.run(1, { opcode: FLUSH, nsid: 0xffff_ffff }).status).toBe(0)
  expect(store.flushes).toBe(2)
})

test('without the volatile write cache, or with Force Unit Access, a write is stable when it completes (NVMe 1.4 6.15, 5.21.1.6)', () => {
  const { driver, store } = started()
  driver.transfer(WRITE, 0, 1, BUFFER)
  expect(store.flushes).toBe(0)
  expect(driver.run(1, { opcode: WRITE, nsid: 1, prp1: BUFFER, cdw12: 1 << 30 }).status).toBe(0)
  expect(store.flushes).toBe(1)
  driver.admin({ opcode: 9, cdw10: 6, cdw11: 0 })
  driver.transfer(WRITE, 0, 1, BUFFER)
  expect(store.flushes).toBe(2)
})

test.each([
  ['opcode', { opcode: 0x08, nsid: 1 }, 0x01],
  ['vendor opcode', { opcode: 0x80, nsid: 1 }, 0x01],
  ['fused command', { opcode: READ, flags: 1, nsid: 1 }, 0x02],
  ['SGL', { opcode: READ, flags: 0x40, nsid: 1 }, 0x02],
  ['namespace 0', { opcode: READ, nsid: 0 }, 0x0b],
  ['namespace 2', { opcode: WRITE, nsid: 2 }, 0x0b],
  ['read of all namespaces', { opcode: READ, nsid: 0xffff_ffff }, 0x0b],
  ['flush of namespace 2', { opcode: FLUSH, nsid: 2 }, 0x0b],
  ['first block behind the end', { opcode: READ, nsid: 1, cdw10: 20 }, 0x80],
  ['last block behind the end', { opcode: READ, nsid: 1, cdw10: 19, cdw12: 1 }, 0x80],
  ['write behind the end', { opcode: WRITE, nsid: 1, cdw10: 19, cdw12: 1 }, 0x80],
  ['block above 2^32', { opcode: READ, nsid: 1, cdw11: 1 }, 0x80],
  ['block number that wraps', { opcode: READ, nsid: 1, cdw10: 0xffff_ffff, cdw11: 0xffff_ffff }, 0x80],
  ['more than MDTS', { opcode: READ, nsid: 1, cdw12: 1024 }, 0x02],
  ['most blocks of all', { opcode: WRITE, nsid: 1, cdw12: 0xffff }, 0x02],
])('a bad %s fails with its status and moves nothing (NVMe 1.4 4.6.1)', (_, command, status) => {
  const { driver, store } = started()
  const untouched = pattern(8192, 5)
  driver.bytes(BUFFER, 8192).set(untouched)
  expect(driver.run(1, { prp1: BUFFER, ...command })).toMatchObject({ status, dnr: true, more: true, sqid: 1 })
  expect(Buffer.compare(driver.bytes(BUFFER, 8192), untouched)).toBe(0)
  expect(Buffer.compare(store.contents, contents)).toBe(0)
  const { payload } = driver.device.counters
  expect([payload.translated, payload.untranslated, payload.failed]).toEqual([0, 0, 0])
})

test('the last block of a store that does not fill it reads padded with zeros', () => {
  const { driver } = started(new MemoryBlockStore(contents.slice(0, 1000)))
  driver.bytes(BUFFER, 4096).fill(0xee)
  expect(driver.transfer(READ, 0, 2, BUFFER).status).toBe(0)
  expect(Buffer.compare(driver.bytes(BUFFER, 1000), contents.subarray(0, 1000))).toBe(0)
  expect(driver.bytes(BUFFER + 1000, 24).every((byte) => byte === 0)).toBe(true)
  expect(driver.bytes(BUFFER + 1024, 1)[0]).toBe(0xee)
  // Nothing of an earlier command is behind the end either.
  driver.transfer(READ, 0, 1, BUFFER)
  driver.transfer(READ, 1, 1, BUFFER)
  expect(driver.bytes(BUFFER + 488, 24).every((byte) => byte === 0)).toBe(true)
  expect(driver.transfer(READ, 2, 1, BUFFER).status).toBe(0x80)
})

test('the last block of such a store takes zeros behind its end; other bytes there are a write fault and nothing is stored', () => {
  const { driver, store } = started(new MemoryBlockStore(contents.slice(0, 1000)))
  const block = pattern(512, 3)
  driver.bytes(BUFFER, 512).set(block)
  expect(driver.transfer(WRITE, 1, 1, BUFFER)).toMatchObject({ status: 0x280 })
  expect(Buffer.compare(store.contents, contents.subarray(0, 1000))).toBe(0)
  driver.bytes(BUFFER + 488, 24).fill(0)
  expect(driver.transfer(WRITE, 1, 1, BUFFER).status).toBe(0)
  expect(Buffer.compare(store.contents.subarray(512), block.subarray(0, 488))).toBe(0)
  expect(store.contents).toHaveLength(1000)
})

test('a store that shrinks fails what is gone, for good, and goes on with the rest (NVMe 1.4 figure 131)', () => {
  const { driver, store } = started()
  store.contents = store.contents.slice(0, 5 * 512 + 100)
  expect(driver.transfer(READ, 6, 1, BUFFER)).toMatchObject({ status: 0x281, dnr: true })
  expect(driver.transfer(READ, 4, 2, BUFFER)).toMatchObject({ status: 0x281, dnr: true })
  expect(driver.transfer(READ, 4, 1, BUFFER).status).toBe(0)
  expect(driver.transfer(WRITE, 6, 1, BUFFER).status).toBe(0x81)
})

test('an empty store is a namespace without blocks', () => {
  const { driver } = started(new MemoryBlockStore(new Uint8Array()))
  expect(driver.transfer(READ, 0, 1, BUFFER).status).toBe(0x80)
  expect(driver.run(1, { opcode: FLUSH, nsid: 1 }).status).toBe(0)
})

test('a read-only store is write protected (NVMe 1.4 figure 127)', () => {
  const { driver } = started(new MemoryBlockStore(contents.slice(), { readOnly: true }))
  expect(driver.transfer(WRITE, 0, 1, BUFFER)).toMatchObject({ status: 0x20, dnr: true })
  expect(driver.transfer(READ, 0, 1, BUFFER).status).toBe(0)
})

test.each([
  [StoreStatus.io, 0x281, 0x280, false],
  [StoreStatus.short, 0x281, 0x280, true],
  [StoreStatus.full, 0x81, 0x81, true],
  [StoreStatus.readOnly, 0x20, 0x20, true],
  [-99, 0x06, 0x06, false],
])('store answer %i is status %i on reads and %i on writes and flushes', (answer, read, write, dnr) => {
  const failing = Object.assign(new MemoryBlockStore(contents.slice()), {
    read: () => answer,
    write: () => answer,
    flush: () => answer,
  })
  const { driver } = started(failing)
  expect(driver.transfer(READ, 0, 1, BUFFER)).toMatchObject({ status: read, dnr })
  expect(driver.transfer(WRITE, 0, 1, BUFFER)).toMatchObject({ status: write, dnr })
  expect(driver.run(1, { opcode: FLUSH, nsid: 1 })).toMatchObject({ status: write, dnr })
})

test('data that the IOMMU blocks is a data transfer error; a blocked write stores nothing (NVMe 1.4 figure 127)', () => {
  const { driver, store } = started()
  driver.gate.block(BUFFER)
  expect(driver.transfer(READ, 0, 1, BUFFER)).toMatchObject({ status: 0x04, dnr: false })
  expect(driver.transfer(WRITE, 0, 1, BUFFER)).toMatchObject({ status: 0x04, dnr: false })
  expect(driver.device.counters.payload.failed).toBe(2)
  expect(Buffer.compare(store.contents, contents)).toBe(0)
  // The PCI hole: nothing answers there.
  expect(driver.transfer(READ, 0, 1, 0xe800_0000).status).toBe(0x04)
})

test('payload and control bytes are counted apart, each by whether they were translated', () => {
  const { driver } = started()
  const { payload, control } = driver.device.counters
  const before = control.untranslated
  driver.transfer(READ, 0, 4, BUFFER)
  driver.transfer(READ, 0, 3, Gate.translated + BUFFER)
  driver.transfer(WRITE, 0, 1, Gate.translated + BUFFER)
  expect([payload.translated, payload.untranslated]).toEqual([4 * 512, 4 * 512])
  // Three commands: an entry of 64 bytes in, one of 16 bytes out.
  expect([control.untranslated - before, control.translated]).toEqual([3 * 80, 0])
  expect(driver.device.translatedBytes).toBe(4 * 512)
})

test('commands are counted by opcode, admin and I/O apart, failed ones included', () => {
  const { driver } = started()
  driver.transfer(READ, 0, 1, BUFFER)
  driver.transfer(READ, 99, 1, BUFFER)
  driver.transfer(WRITE, 0, 1, BUFFER)
  driver.run(1, { opcode: 0x55, nsid: 1 })
  const { ioCommands, adminCommands } = driver.device.counters
  expect([ioCommands[READ], ioCommands[WRITE], ioCommands[FLUSH], ioCommands[0x55]]).toEqual([2, 1, 0, 1])
  expect([adminCommands[1], adminCommands[5], adminCommands[6]]).toEqual([1, 1, 0])
})

/** Completion order of sixteen reads, and the virtual time that they took. */
function order(seed: number): string {
  const { driver } = started(undefined, { seed })
  for (let i = 0; i < 15; i++) driver.put(1, { opcode: READ, nsid: 1, prp1: BUFFER, cdw10: i, cid: i })
  driver.ring(1)
  driver.settle()
  const cids = driver.reap(1).map(({ cid }) => cid)
  return `${cids.join(' ')} at ${driver.machine.clock.now}`
}

test('the seed decides in which order commands complete: the same seed the same, two seeds differ', () => {
  const orders = [1, 2, 3].map(order)
  expect([1, 2, 3].map(order)).toEqual(orders)
  expect(new Set(orders).size).toBe(3)
  expect(orders[0]).not.toMatch(/^0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 /)
})

test('data takes time: twice the bytes on one path, twice the time', () => {
  const time = (blocks: number) => {
    const latency = { name: 't', source: 't', fetch: 0, command: 0, jitter: 0, perByte: 1000, flush: 0, transition: 0 }
    const { driver } = started(new MemoryBlockStore(pattern(1 << 20)), { latency })
    for (const _ of [1, 2, 3, 4]) driver.put(1, { opcode: READ, nsid: 1, prp1: BUFFER, cdw12: blocks - 1 })
    driver.ring(1)
    const from = driver.machine.clock.now
    driver.settle()
    return driver.machine.clock.now - from
  }
  expect([time(1), time(8)]).toEqual([4 * 512 * 1000, 4 * 4096 * 1000])
})
