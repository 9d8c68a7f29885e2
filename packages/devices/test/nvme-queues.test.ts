import { Capability, Express } from '@iospace/machine'
import { expect, test } from 'vitest'
import { earlyFlash, MemoryBlockStore } from '../src/index.ts'
import { fc, runs } from './property.ts'
import { Gate, PAGE, pattern, TestDriver } from './rig.ts'

const READ = 2
const contents = pattern(64 * 512)
const fresh = (options: ConstructorParameters<typeof TestDriver>[1] = {}) =>
  new TestDriver(new MemoryBlockStore(contents.slice()), options)

/** A read of block `block` to page `page` of the upper low RAM. */
const readTo = (block: number, page: number) => ({ opcode: READ, nsid: 1, prp1: (512 + page) * PAGE, cdw10: block })

test('queues wrap, the phase tag alternates, and the reported head follows (NVMe 1.4 4.1, 4.6)', () => {
  const driver = fresh()
  driver.enable()
  driver.createQueues(1, { sq: 0x4000, cq: 0x5000, entries: 3, cqEntries: 4 })
  for (let i = 0; i < 50; i++) {
    const completion = driver.run(1, readTo(i, i))
    expect(completion).toMatchObject({ status: 0, sqid: 1, sqhd: (i + 1) % 3 })
    expect(Buffer.compare(driver.bytes((512 + i) * PAGE, 512), contents.subarray(i * 512, i * 512 + 512))).toBe(0)
  }
})

test('a full completion queue holds completions back, in order, until the host makes room (NVMe 1.4 4.1)', () => {
  const driver = fresh()
  driver.enable()
  driver.createQueues(1, { sq: 0x4000, cq: 0x5000, entries: 16, cqEntries: 4 })
  const cids = Array.from({ length: 15 }, (_, i) => driver.put(1, readTo(i, i)))
  driver.ring(1)
  driver.settle()
  const seen: number[] = []
  for (const expected of [3, 3, 3, 3, 3, 0]) {
    const batch = driver.reap(1)
    expect(batch).toHaveLength(expected)
    seen.push(...batch.map(({ cid }) => cid))
    driver.settle()
  }
  expect(seen.toSorted((a, b) => a - b)).toEqual(cids)
})

test('more commands than the controller holds at a time are fetched as others complete', () => {
  const driver = fresh()
  driver.enable()
  driver.createQueues(1, { sq: 0x40_000, cq: 0x50_000, entries: 1024 })
  driver.createQueues(2, { sq: 0x60_000, cq: 0x70_000, entries: 1024, cqEntries: 8 })
  driver.machine.memory.fill(driver.offset(0x50_000), 0, 4 * PAGE)
  for (let i = 0; i < 600; i++) {
    driver.put(1, readTo(i % 64, i % 300))
    driver.put(2, readTo(i % 64, i % 300))
  }
  driver.ring(1)
  driver.ring(2)
  const counts = [0, 0]
  for (let idle = 0; idle < 2;) {
    driver.settle()
    const batches = [driver.reap(1), driver.reap(2)]
    batches.forEach((batch, i) => (counts[i]! += batch.length))
    for (const { status } of batches.flat()) expect(status).toBe(0)
    idle = batches.flat().length === 0 ? idle + 1 : 0
  }
  expect(counts).toEqual([600, 600])
})

test('several submission queues can share a completion queue, which tells them apart (NVMe 1.4 4.1)', () => {
  const driver = fresh()
  driver.start()
  driver.expectSuccess(driver.admin({ opcode: 1, prp1: 0x9000, cdw10: (15 << 16) | 2, cdw11: (1 << 16) | 1 }))
  driver.track(2, 0x9000, 0x5000, 16, 16)
  driver.put(1, { ...readTo(0, 0), cid: 7 })
  driver.put(2, { ...readTo(1, 1), cid: 7 })
  driver.ring(1)
  driver.ring(2)
  driver.settle()
  const seen = driver.reap(1)
  expect(seen.map(({ sqid, cid, status }) => `${sqid} ${cid} ${status}`).toSorted()).toEqual(['1 7 0', '2 7 0'])
})

test('queues are served in turn: one with many commands does not starve another (NVMe 1.4 4.13)', () => {
  const latency = { name: 't', source: 't', fetch: 1000, command: 10, jitter: 0, perByte: 1, flush: 0, transition: 1 }
  const driver = fresh({ latency })
  driver.enable()
  driver.createQueues(1, { sq: 0x40_000, cq: 0x50_000, entries: 1024 })
  driver.createQueues(2, { sq: 0x60_000, cq: 0x70_000, entries: 16 })
  for (let i = 0; i < 1000; i++) driver.put(1, readTo(0, 0))
  driver.put(2, readTo(1, 1))
  driver.ring(1)
  driver.ring(2)
  let advances = 0
  while (driver.reap(2).length === 0) {
    driver.machine.clock.advance()
    advances++
  }
  expect(advances).toBeLessThan(200)
})

test('queues anywhere on the bus: above 4 GiB, over a 4 GiB boundary of the bus, translated', () => {
  const driver = fresh()
  driver.enable({ admin: 0x1_0000_0000 })
  driver.createQueues(1, { sq: 2 ** 40 - PAGE, cq: Gate.translated + 0x1_0000_5000, entries: 128 })
  driver.createQueues(2, { sq: 0x1_0001_0000, cq: 2 ** 40 + 15 * PAGE, entries: 16, cqEntries: 256 })
  for (let i = 0; i < 300; i++) for (const id of [1, 2]) expect(driver.run(id, readTo(i % 64, 0)).status).toBe(0)
  const { control } = driver.device.counters
  expect(control.translated).toBe(300 * 80 + 300 * 16)
})

test.each([
  ['the same tail again', (d: TestDriver) => d.write(0x1008, 0)],
  ['a tail outside the queue', (d: TestDriver) => d.write(0x1008, 16)],
  ['a tail with reserved bits', (d: TestDriver) => d.write(0x1008, 0x1_0001)],
  ['a head that no completion reaches', (d: TestDriver) => d.write(0x100c, 1)],
  ['a head outside the queue', (d: TestDriver) => d.write(0x100c, 0xffff_ffff)],
  ['the same head again', (d: TestDriver) => d.write(0x100c, 0)],
])('a doorbell write with %s is an event and changes nothing (NVMe 1.4 4.1, figure 147)', (_, misuse) => {
  const driver = fresh().start()
  driver.put(0, { opcode: 0x0c })
  driver.ring(0)
  driver.settle()
  misuse(driver)
  driver.settle()
  expect(driver.reap(0)).toMatchObject([{ dw0: 0x01_0100 }])
  expect(driver.run(1, readTo(3, 0)).status).toBe(0)
})

test('a tail that overruns commands which were not fetched is refused (NVMe 1.4 4.1)', () => {
  const driver = fresh().start()
  for (let i = 0; i < 10; i++) driver.put(1, readTo(i, i))
  driver.ring(1)
  driver.write(0x1008, 9)
  driver.settle()
  expect(driver.reap(1)).toHaveLength(10)
})

test('any sequence of register and doorbell writes leaves a controller that a reset makes work again', () => {
  const offset = fc.oneof(
    fc.integer({ min: 0, max: 0x40 / 4 }).map((word) => word * 4),
    fc.integer({ min: 0, max: 40 }).map((word) => 0x1000 + word * 4),
  )
  const value = fc.oneof(
    fc.nat(20),
    fc.integer({ min: -1, max: 0xffff_ffff }),
    fc.constantFrom(0x0046_0001, 0x000f_000f),
  )
  const step = fc.record({ offset, value, advance: fc.nat(3) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.infiniteStream(fc.integer()), (steps, noise) => {
      const driver = fresh().start()
      for (let at = 0x1000; at < 0x6000; at += 4) driver.machine.memory.view.setInt32(at, noise.next().value, true)
      for (const { offset: register, value: written, advance } of steps) {
        driver.write(register, written)
        for (let i = 0; i < advance; i++) driver.machine.clock.advance()
      }
      driver.disable()
      expect(driver.csts).toBe(0)
      driver.start()
      expect(driver.csts).toBe(1)
      driver.bytes(512 * PAGE, 512).fill(0)
      expect(driver.run(1, readTo(5, 0)).status).toBe(0)
      expect(Buffer.compare(driver.bytes(512 * PAGE, 512), contents.subarray(5 * 512, 6 * 512))).toBe(0)
    }),
    runs(40),
  )
})

test('an interrupt tells of the first completion; the rest of a busy queue comes with the doorbell (NVMe 1.4 7.5.1)', () => {
  const driver = fresh().start()
  driver.interrupts.length = 0
  for (let i = 0; i < 5; i++) driver.put(1, readTo(i, i))
  driver.ring(1)
  driver.settle()
  expect(driver.interrupts).toHaveLength(1)
  const batch = driver.reap(1, false)
  expect(batch).toHaveLength(5)
  // Some consumed, not all: another message. All consumed: none.
  driver.write(0x100c, 4)
  expect(driver.interrupts).toHaveLength(2)
  driver.write(0x100c, 7)
  expect(driver.interrupts).toHaveLength(2)
})

test('each completion of an idle queue sends one message, after its entry is in memory', () => {
  const driver = fresh().start()
  const at = (1 << 16) - 1
  for (let i = 0; i < 20; i++) {
    const before = driver.interrupts.length
    expect(driver.run(1, readTo(i, i)).cid).toBeLessThan(at)
    expect(driver.interrupts.length).toBe(before + 1)
  }
  const { log } = driver.gate
  const entry = log.findLastIndex((line) => line.startsWith('w5') && line.endsWith('+16'))
  expect(log.findLastIndex((line) => line === 'wfee00000+4')).toBeGreaterThan(entry)
  expect(log.findLastIndex((line) => line.endsWith('+512'))).toBeLessThan(entry)
})

test('INTMS holds messages back; INTMC sends the one that is due (NVMe 1.4 3.1.3, 3.1.4)', () => {
  const driver = fresh().start()
  driver.interrupts.length = 0
  driver.write(0x0c, 1)
  expect([driver.read(0x0c), driver.read(0x10)]).toEqual([1, 1])
  driver.run(1, readTo(0, 0))
  driver.put(1, readTo(1, 1))
  driver.ring(1)
  driver.settle()
  expect(driver.interrupts).toHaveLength(0)
  driver.write(0x10, 1)
  expect(driver.interrupts).toHaveLength(1)
  expect(driver.read(0x0c)).toBe(0)
  driver.reap(1)
  driver.write(0x10, 1)
  expect(driver.interrupts).toHaveLength(1)
})

test('a completion queue without interrupts sends none (NVMe 1.4 5.3, IEN)', () => {
  const driver = fresh()
  driver.enable()
  driver.createQueues(1, { sq: 0x4000, cq: 0x5000, interrupts: false })
  driver.interrupts.length = 0
  expect(driver.run(1, readTo(0, 0)).status).toBe(0)
  expect(driver.interrupts).toHaveLength(0)
})

test('deleting a queue with entries that nobody consumed does not silence the others', () => {
  const driver = fresh().start()
  driver.put(1, readTo(0, 0))
  driver.ring(1)
  driver.settle()
  driver.expectSuccess(driver.admin({ opcode: 0, cdw10: 1 }))
  driver.interrupts.length = 0
  driver.put(0, { opcode: 4, cdw10: 1 })
  driver.ring(0)
  driver.settle()
  expect(driver.interrupts).toHaveLength(1)
  expect(driver.reap(0)).toMatchObject([{ status: 0 }])
})

test('entries of a queue without interrupts are no reason for a message', () => {
  const driver = fresh()
  driver.enable()
  driver.createQueues(1, { sq: 0x4000, cq: 0x5000 })
  driver.createQueues(2, { sq: 0x9000, cq: 0xa000, interrupts: false })
  driver.put(2, readTo(0, 0))
  driver.ring(2)
  driver.settle()
  driver.interrupts.length = 0
  driver.run(1, readTo(1, 1))
  expect(driver.interrupts).toHaveLength(1)
})

test('a fatal error in the middle of an admin command ends that command too', () => {
  const driver = fresh({ latency: { ...earlyFlash, perByte: 10_000 } }).start()
  for (let i = 0; i < 4; i++) driver.put(1, readTo(i, i))
  driver.ring(1)
  driver.put(0, { opcode: 0, cdw10: 1 })
  driver.ring(0)
  driver.gate.block(0x5000)
  driver.settle()
  expect(driver.csts).toBe(1 | 2)
  expect(driver.reap(0)).toEqual([])
})

test.each([
  ['a submission queue that cannot be read', 0x4000],
  ['a completion queue that cannot be written', 0x5000],
])('%s is fatal: CSTS.CFS, and a reset helps (NVMe 1.4 9.5)', (_, address) => {
  const driver = fresh().start()
  driver.gate.block(address)
  for (let i = 0; i < 4; i++) driver.put(1, readTo(i, i))
  driver.ring(1)
  driver.settle()
  expect(driver.csts).toBe(1 | 2)
  expect(driver.reap(1)).toEqual([])
  driver.gate.log.length = 0
  driver.write(0x1000, 1)
  driver.write(0x1008, 1)
  driver.settle()
  expect(driver.gate.log).toEqual([])
  driver.gate.blocked.length = 0
  driver.disable()
  driver.start()
  expect(driver.run(1, readTo(0, 0)).status).toBe(0)
})

test.each([
  ['a controller reset', (driver: TestDriver) => driver.write(0x14, 0x0046_0000)],
  [
    'a function-level reset',
    (driver: TestDriver) =>
      driver.configWrite(driver.capability(Capability.pciExpress) + Express.deviceControl, 2, Express.initiateReset),
  ],
])('%s drops transfers in flight: not a byte, entry or message afterwards (NVMe 1.4 7.3.2)', (_, reset) => {
  const driver = fresh()
  for (let steps = 0; steps < 6; steps++) {
    driver.plug()
    driver.start()
    const memory = () => Buffer.from(driver.machine.memory.bytes.slice(0, 2048 * PAGE))
    for (let i = 0; i < 8; i++) driver.put(1, readTo(i, i))
    driver.ring(1)
    for (let i = 0; i < steps; i++) driver.machine.clock.advance()
    reset(driver)
    const before = memory()
    driver.gate.log.length = 0
    driver.interrupts.length = 0
    driver.settle()
    expect(driver.gate.log).toEqual([])
    expect(driver.interrupts).toEqual([])
    expect(Buffer.compare(memory(), before)).toBe(0)
  }
})
