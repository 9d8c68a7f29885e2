import { expect, test } from 'vitest'
import { earlyFlash, MemoryBlockStore } from '../src/index.ts'
import { pattern, TestDriver } from './rig.ts'

const BUFFER = 0x8000

function enabled(options: ConstructorParameters<typeof TestDriver>[1] = {}) {
  const driver = new TestDriver(new MemoryBlockStore(pattern(65536)), options)
  driver.enable()
  return driver
}

/** A completion queue for `id` at 0x5000, without its submission queue. */
const createCq = (driver: TestDriver, cdw10: number, cdw11 = 3, prp1 = 0x5000) =>
  driver.admin({ opcode: 5, prp1, cdw10, cdw11 }).status
const createSq = (driver: TestDriver, cdw10: number, cdw11 = 0x0001_0001, prp1 = 0x4000) =>
  driver.admin({ opcode: 1, prp1, cdw10, cdw11 }).status

test('opcodes that do not exist are invalid, with the error in the log (NVMe 1.4 figure 127)', () => {
  const driver = enabled()
  for (const opcode of [0x03, 0x0d, 0x10, 0x7f, 0x80, 0xc0]) {
    expect(driver.admin({ opcode })).toMatchObject({ status: 0x01, dnr: true, more: true })
  }
})

test('fused commands and SGLs are an invalid field (NVMe 1.4 4.2)', () => {
  const driver = enabled()
  for (const flags of [0x01, 0x02, 0x40, 0x80]) {
    expect(driver.admin({ opcode: 0x0a, flags, cdw10: 7 }).status).toBe(0x02)
  }
})

test.each([
  ['identifier 0 (5.3)', 0x000f_0000, 3, 0x5000, 0x101],
  ['an identifier above the number of queues (5.3)', 0x000f_0009, 3, 0x5000, 0x101],
  ['one entry (5.3)', 0x0000_0001, 3, 0x5000, 0x102],
  ['more entries than CAP.MQES (5.3)', 0x0400_0001, 3, 0x5000, 0x102],
  ['memory that is not contiguous (5.3, CAP.CQR)', 0x000f_0001, 2, 0x5000, 0x02],
  ['a vector that does not exist (5.3)', 0x000f_0001, 0x0001_0003, 0x5000, 0x108],
  ['a base inside a page (5.3)', 0x000f_0001, 3, 0x5800, 0x13],
])('Create I/O Completion Queue with %s', (_, cdw10, cdw11, prp1, status) => {
  const driver = enabled()
  expect(createCq(driver, cdw10, cdw11, prp1)).toBe(status)
  expect(createCq(driver, 0x000f_0001)).toBe(0)
})

test.each([
  ['identifier 0 (5.4)', 0x000f_0000, 0x0001_0001, 0x4000, 0x101],
  ['an identifier above the number of queues (5.4)', 0x000f_0009, 0x0001_0001, 0x4000, 0x101],
  ['one entry (5.4)', 0x0000_0001, 0x0001_0001, 0x4000, 0x102],
  ['more entries than CAP.MQES (5.4)', 0x0400_0001, 0x0001_0001, 0x4000, 0x102],
  ['memory that is not contiguous (5.4, CAP.CQR)', 0x000f_0001, 0x0001_0000, 0x4000, 0x02],
  ['the admin completion queue (5.4)', 0x000f_0001, 0x0000_0001, 0x4000, 0x101],
  ['a completion queue that cannot exist (5.4)', 0x000f_0001, 0x0009_0001, 0x4000, 0x101],
  ['a completion queue that does not exist (5.4)', 0x000f_0001, 0x0002_0001, 0x4000, 0x100],
  ['a base inside a page (5.4)', 0x000f_0001, 0x0001_0001, 0x4040, 0x13],
])('Create I/O Submission Queue with %s', (_, cdw10, cdw11, prp1, status) => {
  const driver = enabled()
  expect(createCq(driver, 0x000f_0001)).toBe(0)
  expect(createSq(driver, cdw10, cdw11, prp1)).toBe(status)
  expect(createSq(driver, 0x000f_0001)).toBe(0)
})

test('queues of entries that are not 64 and 16 bytes in CC are an invalid size (NVMe 1.4 3.1.5)', () => {
  const driver = new TestDriver(new MemoryBlockStore(pattern(512)))
  driver.enable({ cc: 0x0056_0001 })
  expect(createCq(driver, 0x000f_0001)).toBe(0x102)
  driver.disable()
  driver.enable({ cc: 0x0047_0001 })
  expect(createCq(driver, 0x000f_0001)).toBe(0)
  expect(createSq(driver, 0x000f_0001)).toBe(0x102)
})

test('an identifier is taken until its queue is deleted; a completion queue goes last (NVMe 1.4 5.3 to 5.6)', () => {
  const driver = enabled()
  expect([createCq(driver, 0x000f_0001), createSq(driver, 0x000f_0001)]).toEqual([0, 0])
  expect([createCq(driver, 0x000f_0001), createSq(driver, 0x000f_0001)]).toEqual([0x101, 0x101])
  const deleteCq = (id: number) => driver.admin({ opcode: 4, cdw10: id }).status
  const deleteSq = (id: number) => driver.admin({ opcode: 0, cdw10: id }).status
  expect(deleteCq(1)).toBe(0x10c)
  expect([deleteSq(0), deleteSq(2), deleteCq(0), deleteCq(2)]).toEqual([0x101, 0x101, 0x101, 0x101])
  expect([deleteSq(1), deleteSq(1), deleteCq(1), deleteCq(1)]).toEqual([0, 0x101, 0, 0x101])
  driver.createQueues(1, { sq: 0x4000, cq: 0x5000 })
  expect(driver.transfer(2, 0, 1, BUFFER).status).toBe(0)
})

/** Data takes so long that admin commands overtake I/O commands. */
const slowData = { ...earlyFlash, perByte: 10_000 }

test('deleting a submission queue aborts what it has under way, fetched or not reported (NVMe 1.4 5.6)', () => {
  const driver = enabled({ latency: slowData })
  driver.createQueues(1, { sq: 0x4000, cq: 0x5000 })
  const cids = [0, 1].map((block) => driver.put(1, { opcode: 2, nsid: 1, prp1: BUFFER, cdw10: block }))
  driver.ring(1)
  expect(driver.admin({ opcode: 0, cdw10: 1 }).status).toBe(0)
  driver.settle()
  const seen = driver.reap(1)
  expect(seen.map(({ cid }) => cid).toSorted((a, b) => a - b)).toEqual(cids)
  expect(seen.map(({ status }) => status)).toEqual([0x08, 0x08])
  expect(driver.gate.log.filter((entry) => entry.includes(BUFFER.toString(16)))).toEqual([])
})

test('Abort ends an I/O command that is under way (NVMe 1.4 5.1)', () => {
  const driver = enabled({ latency: slowData })
  driver.createQueues(1, { sq: 0x4000, cq: 0x5000 })
  const cid = driver.put(1, { opcode: 2, nsid: 1, prp1: BUFFER })
  driver.ring(1)
  expect(driver.admin({ opcode: 8, cdw10: (cid << 16) | 1 })).toMatchObject({ status: 0, dw0: 0 })
  expect(driver.reap(1)).toMatchObject([{ cid, status: 0x07, dnr: false }])
  driver.settle()
  expect(driver.reap(1)).toEqual([])
})

test('Number of Queues: what the host asks for and what exists, whichever is less; before any I/O queue (NVMe 1.4 5.21.1.7)', () => {
  const driver = enabled({ ioQueues: 4 })
  const set = (cdw11: number) => driver.admin({ opcode: 9, cdw10: 7, cdw11 })
  expect(driver.admin({ opcode: 0x0a, cdw10: 7 })).toMatchObject({ status: 0, dw0: 0x0003_0003 })
  expect(set(0x0001_0063)).toMatchObject({ status: 0, dw0: 0x0001_0003 })
  expect([set(0x0000_ffff).status, set(0xffff_0000 | 0).status]).toEqual([0x02, 0x02])
  expect(driver.admin({ opcode: 0x0a, cdw10: 7 }).dw0).toBe(0x0001_0003)
  expect([createCq(driver, 0x000f_0003), createCq(driver, 0x000f_0002)]).toEqual([0x101, 0])
  expect(set(0).status).toBe(0x0c)
})

test('features keep what is set until a controller reset (NVMe 1.4 5.21, 7.3.2)', () => {
  const driver = enabled()
  const get = (id: number, cdw11 = 0) => driver.admin({ opcode: 0x0a, cdw10: id, cdw11 })
  const initial = [1, 2, 4, 5, 6, 8, 9, 0x0a, 0x0b].map((id) => get(id).dw0)
  expect(initial).toEqual([7, 0, 343, 0, 1, 0, 0, 0, 0])
  const set = (id: number, cdw11: number) => driver.admin({ opcode: 9, cdw10: id, cdw11 }).status
  expect([set(1, 3), set(4, 300), set(6, 0), set(8, 0x0503), set(9, 0x1_0000), set(0x0b, 0x1f)]).toEqual([
    0, 0, 0, 0, 0, 0,
  ])
  expect([1, 4, 6, 8, 9, 0x0b].map((id) => get(id).dw0)).toEqual([3, 300, 0, 0x0503, 0x1_0000, 0x1f])
  driver.disable()
  driver.enable()
  expect([1, 2, 4, 5, 6, 8, 9, 0x0a, 0x0b].map((id) => get(id).dw0)).toEqual(initial)
})

test.each([
  ['a feature that does not exist', { cdw10: 0x03 }, 0x02],
  ['a reserved bit', { cdw10: 6, cdw11: 2 }, 0x02],
  ['a power state that does not exist', { cdw10: 2, cdw11: 1 }, 0x02],
  ['a saved value', { cdw10: (0x8000_0000 | 6) >>> 0, cdw11: 0 }, 0x10d],
  ['a namespace for a feature of the controller', { cdw10: 6, cdw11: 0, nsid: 1 }, 0x10f],
])('Set Features with %s (NVMe 1.4 5.21)', (_, command, status) => {
  const driver = enabled()
  expect(driver.admin({ opcode: 9, ...command }).status).toBe(status)
  expect(driver.admin({ opcode: 0x0a, cdw10: 6 }).dw0).toBe(1)
})

test('Get Features of what does not exist is an invalid field (NVMe 1.4 5.9)', () => {
  const driver = enabled()
  const get = (cdw10: number, cdw11 = 0) => driver.admin({ opcode: 0x0a, cdw10, cdw11 }).status
  expect([get(0), get(3), get(0xff), get(4, 0x1_0000), get(9, 1)]).toEqual([2, 2, 2, 2, 2])
})

test('Abort ends a command that waits, and says so in dw0 when there was none (NVMe 1.4 5.1)', () => {
  const driver = enabled()
  const cid = driver.put(0, { opcode: 0x0c })
  driver.ring(0)
  driver.settle()
  expect(driver.reap(0)).toEqual([])
  const abort = (sqid: number, which: number) => {
    const id = driver.put(0, { opcode: 8, cdw10: ((which << 16) | sqid) >>> 0 })
    driver.ring(0)
    driver.settle()
    const seen = driver.reap(0)
    return {
      result: seen.find((completion) => completion.cid === id)!.dw0 & 1,
      others: seen.filter((c) => c.cid !== id),
    }
  }
  expect(abort(0, cid + 100)).toEqual({ result: 1, others: [] })
  expect(abort(1, cid)).toEqual({ result: 1, others: [] })
  const { result, others } = abort(0, cid)
  expect(result).toBe(0)
  expect(others).toMatchObject([{ cid, sqid: 0, status: 0x07 }])
})

test('event requests are held; one too many is refused (NVMe 1.4 5.2)', () => {
  const driver = enabled()
  const cids = [1, 2, 3, 4, 5].map(() => driver.put(0, { opcode: 0x0c }))
  driver.ring(0)
  driver.settle()
  const seen = driver.reap(0)
  expect(seen).toMatchObject([{ status: 0x105, dnr: true }])
  expect(cids).toContain(seen[0]!.cid)
  // A reset forgets them.
  driver.disable()
  driver.enable()
  expect(driver.admin({ opcode: 0x0a, cdw10: 7 }).status).toBe(0)
})

/** Get Log Page of `bytes` bytes from `offset` into the buffer. */
const log = (driver: TestDriver, id: number, bytes: number, { offset = 0, rae = false, nsid = 0xffff_ffff } = {}) =>
  driver.admin({
    opcode: 2,
    nsid,
    prp1: BUFFER,
    cdw10: (id | (rae ? 0x8000 : 0) | ((bytes / 4 - 1) << 16)) >>> 0,
    cdw12: offset,
  }).status

test('the error log has the newest error first, with queue, command and status (NVMe 1.4 5.14.1.1)', () => {
  const driver = enabled()
  const { view } = driver.machine.memory
  driver.createQueues(1, { sq: 0x4000, cq: 0x5000 })
  const { cid: first } = driver.admin({ opcode: 0x7f })
  const { cid: second } = driver.transfer(2, 0x1_0000_0001, 1, BUFFER)
  expect(log(driver, 1, 512)).toBe(0)
  const entry = (i: number) => {
    const at = driver.offset(BUFFER) + 64 * i
    return {
      count: view.getBigUint64(at, true),
      sqid: view.getUint16(at + 8, true),
      cid: view.getUint16(at + 10, true),
      status: (view.getUint16(at + 12, true) >> 1) & 0x7ff,
      lba: view.getBigUint64(at + 16, true),
      nsid: view.getUint32(at + 24, true),
    }
  }
  expect(entry(0)).toEqual({ count: 2n, sqid: 1, cid: second, status: 0x80, lba: 0x1_0000_0001n, nsid: 1 })
  expect(entry(1)).toEqual({ count: 1n, sqid: 0, cid: first, status: 0x01, lba: 0n, nsid: 0 })
  expect(entry(2).count).toBe(0n)
  for (let i = 0; i < 10; i++) driver.admin({ opcode: 0x7f })
  log(driver, 1, 512)
  expect([entry(0).count, entry(7).count]).toEqual([12n, 5n])
})

test('the health log counts blocks, commands and errors (NVMe 1.4 5.14.1.2)', () => {
  const driver = enabled()
  const { view } = driver.machine.memory
  driver.createQueues(1, { sq: 0x4000, cq: 0x5000 })
  driver.transfer(2, 0, 8, BUFFER)
  driver.transfer(1, 0, 8, BUFFER)
  driver.transfer(1, 8, 8, BUFFER)
  driver.transfer(2, 0x1000, 1, BUFFER)
  expect(log(driver, 2, 512)).toBe(0)
  const at = driver.offset(BUFFER)
  expect([view.getUint8(at), view.getUint16(at + 1, true)]).toEqual([0, 300])
  const counter = (offset: number) => view.getBigUint64(at + offset, true)
  expect({
    read: counter(32),
    written: counter(48),
    reads: counter(64),
    writes: counter(80),
    errors: counter(176),
  }).toEqual({
    read: 1n,
    written: 1n,
    reads: 2n,
    writes: 2n,
    errors: 1n,
  })
})

test('the firmware log names slot 1 (NVMe 1.4 5.14.1.3); a part of a page comes from its offset (5.14)', () => {
  const driver = enabled()
  expect(log(driver, 3, 512)).toBe(0)
  expect(driver.bytes(BUFFER, 1)[0]).toBe(1)
  expect(log(driver, 3, 8, { offset: 8, nsid: 0 })).toBe(0)
  expect(Buffer.from(driver.bytes(BUFFER, 8)).toString()).toBe('1.0     ')
  driver.machine.memory.fill(driver.offset(BUFFER), 0xee, 4096)
  expect(log(driver, 3, 1024)).toBe(0)
  expect(driver.bytes(BUFFER + 512, 513).findIndex((byte) => byte !== 0)).toBe(512)
})

test.each([
  ['a page that does not exist', (driver: TestDriver) => log(driver, 0x10, 64), 0x109],
  ['an offset behind its end', (driver: TestDriver) => log(driver, 1, 64, { offset: 516 }), 0x02],
  ['an offset that is not a multiple of 4', (driver: TestDriver) => log(driver, 1, 64, { offset: 2 }), 0x02],
  ['a namespace', (driver: TestDriver) => log(driver, 2, 64, { nsid: 1 }), 0x02],
  [
    'more than MDTS',
    (driver: TestDriver) => driver.admin({ opcode: 2, prp1: BUFFER, cdw10: 1, cdw11: 2 }).status,
    0x02,
  ],
  [
    'an offset above 4 GiB',
    (driver: TestDriver) => driver.admin({ opcode: 2, prp1: BUFFER, cdw10: 1, cdw13: 1 }).status,
    0x02,
  ],
])('Get Log Page with %s (NVMe 1.4 5.14)', (_, request, status) => {
  expect(request(enabled())).toBe(status)
})

test('a doorbell of a queue that does not exist, and a bad value, are error events (NVMe 1.4 4.1, figure 147)', () => {
  const driver = enabled()
  const request = () => {
    driver.put(0, { opcode: 0x0c })
    driver.ring(0)
    driver.settle()
  }
  request()
  driver.write(0x1000 + 8 * 5, 1)
  expect(driver.reap(0)).toMatchObject([{ status: 0, dw0: 0x01_0000 }])
  // One event of a type, until its log has been read.
  request()
  driver.write(0x1000 + 8 * 5 + 4, 1)
  driver.settle()
  expect(driver.reap(0)).toEqual([])
  expect(log(driver, 1, 64, { rae: true })).toBe(0)
  driver.write(0x1000, 99)
  expect(driver.reap(0)).toEqual([])
  expect(log(driver, 1, 64)).toBe(0)
  driver.write(0x1000, 99)
  expect(driver.reap(0)).toMatchObject([{ status: 0, dw0: 0x01_0100 }])
})

test('an event that comes before a request waits for one (NVMe 1.4 5.2)', () => {
  const driver = enabled()
  driver.write(0x1000 + 8 * 5, 1)
  driver.settle()
  expect(driver.admin({ opcode: 0x0c })).toMatchObject({ status: 0, dw0: 0x01_0000 })
})

test.each([
  ['a controller reset', (driver: TestDriver) => (driver.disable(), driver.enable())],
  ['a read of its log page', (driver: TestDriver) => log(driver, 1, 64)],
])('an event that waits is forgotten by %s (NVMe 1.4 5.2, 7.3.2)', (_, forget) => {
  const driver = enabled()
  driver.write(0x1000 + 8 * 5, 1)
  forget(driver)
  driver.put(0, { opcode: 0x0c })
  driver.ring(0)
  driver.settle()
  expect(driver.reap(0)).toEqual([])
  driver.write(0x1000 + 8 * 5, 1)
  expect(driver.reap(0)).toMatchObject([{ dw0: 0x01_0000 }])
})
