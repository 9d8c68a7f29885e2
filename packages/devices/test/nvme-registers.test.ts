import { Capability, Config, Express } from '@iospace/machine'
import { ConfigError } from '@iospace/wire'
import { expect, test } from 'vitest'
import { type BlockStore, MemoryBlockStore, NvmeController, StoreStatus } from '../src/index.ts'
import { board, pattern, TestDriver } from './rig.ts'

const disk = () => new MemoryBlockStore(pattern(8192))
const RDY = 1
const CFS = 2
const SHST = 0xc

test('the function is a mass storage NVMe controller with a 64-bit BAR of 16 KiB, MSI and FLR (NVMe 1.4 2.1)', () => {
  const { machine, bar } = new TestDriver(disk())
  const { pci } = machine
  expect(pci.configRead(8, Config.revision, 4) >>> 8).toBe(0x010802)
  expect(pci.configRead(8, Config.bar0, 4) & 0xf).toBe(4)
  pci.configWrite(8, Config.bar0, 4, 0xffff_ffff)
  expect(pci.configRead(8, Config.bar0, 4)).toBe(0xffff_c004)
  expect(bar % 0x4000).toBe(0)
})

test('CAP: 1024 entries, contiguous queues, doorbells 4 bytes apart, NVM command set, 4 KiB pages (NVMe 1.4 3.1.1)', () => {
  const driver = new TestDriver(disk())
  const cap = driver.machine.mmio.read64(driver.bar)
  const field = (low: bigint, width: bigint) => Number((cap >> low) & ((1n << width) - 1n))
  expect({ mqes: field(0n, 16n), cqr: field(16n, 1n), dstrd: field(32n, 4n), css: field(37n, 8n) }).toEqual({
    mqes: 1023,
    cqr: 1,
    dstrd: 0,
    css: 1,
  })
  expect({ mpsmin: field(48n, 4n), mpsmax: field(52n, 4n), ams: field(17n, 2n) }).toEqual({
    mpsmin: 0,
    mpsmax: 0,
    ams: 0,
  })
  expect(field(24n, 8n)).toBeGreaterThan(0)
  expect(driver.read(0x08)).toBe(0x0001_0400)
})

test('read-only registers ignore writes, reserved ones read 0, AQA and the bases keep only their bits (NVMe 1.4 3.1)', () => {
  const driver = new TestDriver(disk())
  for (const offset of [0x00, 0x04, 0x08, 0x18, 0x1c, 0x20, 0x38, 0x3c, 0x100, 0x1000, 0x3ffc]) {
    const before = driver.read(offset)
    driver.write(offset, ~before)
    expect(driver.read(offset)).toBe(before)
  }
  expect([0x18, 0x38, 0x3c, 0x1000].map((offset) => driver.read(offset))).toEqual([0, 0, 0, 0])
  for (const offset of [0x24, 0x28, 0x2c, 0x30, 0x34]) driver.write(offset, 0xffff_ffff)
  expect([0x24, 0x28, 0x2c, 0x30, 0x34].map((offset) => driver.read(offset))).toEqual([
    0x0fff_0fff, 0xffff_f000, 0xffff_ffff, 0xffff_f000, 0xffff_ffff,
  ])
})

test('CSTS.RDY follows CC.EN, later, in both directions (NVMe 1.4 7.6.1, 7.3.2)', () => {
  const driver = new TestDriver(disk())
  driver.write(0x24, 0x000f_000f)
  driver.write(0x28, 0x1000)
  driver.write(0x30, 0x2000)
  driver.write(0x14, 0x0046_0001)
  expect(driver.csts & RDY).toBe(0)
  driver.settle()
  expect(driver.csts).toBe(RDY)
  driver.write(0x14, 0x0046_0000)
  expect(driver.csts & RDY).toBe(RDY)
  driver.settle()
  expect(driver.csts).toBe(0)
})

test('a controller reset keeps AQA, ASQ and ACQ, and clears the interrupt mask (NVMe 1.4 7.3.2)', () => {
  const driver = new TestDriver(disk())
  driver.enable()
  driver.write(0x0c, 1)
  driver.disable()
  expect([0x24, 0x28, 0x30, 0x0c].map((offset) => driver.read(offset))).toEqual([0x000f_000f, 0x1000, 0x2000, 0])
})

test.each([
  ['a command set that does not exist (3.1.5)', { cc: 0x0046_0011 }],
  ['a page size above CAP.MPSMAX (3.1.5)', { cc: 0x0046_0081 }],
  ['an arbitration that does not exist (3.1.5)', { cc: 0x0046_0801 }],
  ['an admin queue of one entry (3.1.8)', { entries: 1 }],
])('enabling with %s is fatal until a reset', (_, options) => {
  const driver = new TestDriver(disk())
  driver.enable(options)
  expect(driver.csts).toBe(CFS)
  driver.write(0x1000, 1)
  driver.settle()
  expect(driver.csts).toBe(CFS)
  driver.disable()
  expect(driver.csts).toBe(0)
  driver.enable()
  expect(driver.csts).toBe(RDY)
})

test.each([
  ['normal', 0x4000],
  ['abrupt', 0x8000],
])('a %s shutdown flushes the store, reports itself, and stops the queues (NVMe 1.4 7.6.2)', (_, shn) => {
  const store = disk()
  const driver = new TestDriver(store)
  driver.start()
  driver.write(0x14, 0x0046_0001 | shn)
  expect(driver.csts & SHST).toBe(4)
  driver.settle()
  expect([driver.csts & SHST, store.flushes]).toEqual([8, 1])
  driver.put(0, { opcode: 0x0a, cdw10: 7 })
  driver.ring(0)
  driver.settle()
  expect(driver.reap(0)).toEqual([])
  driver.disable()
  expect(driver.csts).toBe(0)
  driver.start()
  expect(driver.csts).toBe(RDY)
})

test('a reset during a shutdown wins', () => {
  const driver = new TestDriver(disk())
  driver.start()
  driver.write(0x14, 0x0046_4001)
  driver.write(0x14, 0x0046_0000)
  driver.settle()
  expect(driver.csts).toBe(0)
})

test('a controller that is not enabled shuts down too, and can be enabled after it (NVMe 1.4 7.6.2)', () => {
  const driver = new TestDriver(disk())
  driver.write(0x14, 0x0046_4000)
  driver.settle()
  expect(driver.csts).toBe(8)
  driver.start()
  expect(driver.csts).toBe(RDY)
})

test('a shutdown whose flush fails is fatal (NVMe 1.4 9.5)', () => {
  const store: BlockStore = Object.assign(disk(), { flush: () => StoreStatus.io })
  const driver = new TestDriver(store)
  driver.start()
  driver.write(0x14, 0x0046_4001)
  driver.settle()
  expect(driver.csts & (CFS | SHST)).toBe(CFS | 8)
})

test('function-level reset puts every register and queue back, also while a command is under way (NVMe 1.4 7.3.2)', () => {
  const driver = new TestDriver(disk())
  driver.start()
  driver.put(1, { opcode: 2, nsid: 1, prp1: 0x8000 })
  driver.ring(1)
  const express = driver.capability(Capability.pciExpress)
  driver.configWrite(express + Express.deviceControl, 2, Express.initiateReset)
  driver.gate.log.length = 0
  driver.settle()
  expect(driver.gate.log).toEqual([])
  driver.plug()
  expect([0x14, 0x1c, 0x24, 0x28, 0x30].map((offset) => driver.read(offset))).toEqual([0, 0, 0, 0, 0])
  driver.start()
  expect(driver.transfer(2, 0, 1, 0x8000).status).toBe(0)
})

test('without bus mastering the first fetch fails, which is fatal (PCI 3.0 6.2.2, NVMe 1.4 9.5)', () => {
  const driver = new TestDriver(disk())
  driver.enable()
  driver.configWrite(Config.command, 2, 2)
  driver.put(0, { opcode: 0x0a, cdw10: 7 })
  driver.ring(0)
  driver.settle()
  expect(driver.csts & CFS).toBe(CFS)
})

test('options that make no sense are ConfigErrors', () => {
  const machine = board()
  const make = (options: object) => () => new NvmeController({ machine, store: disk(), ...options })
  for (const options of [
    { ioQueues: 0 },
    { ioQueues: 65 },
    { ioQueues: 1.5 },
    { serial: '' },
    { serial: 'x'.repeat(21) },
  ]) {
    expect(make(options)).toThrow(ConfigError)
  }
})
