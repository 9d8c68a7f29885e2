import { expect, test } from 'vitest'
import { MemoryBlockStore } from '../src/index.ts'
import { pattern, TestDriver } from './rig.ts'

const BUFFER = 0x8000

function enabled(bytes = 8192, readOnly = false) {
  const driver = new TestDriver(new MemoryBlockStore(pattern(bytes), { readOnly }), { serial: 'SER1AL' })
  driver.enable()
  driver.machine.memory.fill(driver.offset(BUFFER), 0xee, 4096)
  const identify = (cns: number, nsid: number) => driver.admin({ opcode: 6, nsid, prp1: BUFFER, cdw10: cns })
  const at = driver.offset(BUFFER)
  const { view } = driver.machine.memory
  const text = (from: number, length: number) => Buffer.from(driver.bytes(BUFFER + from, length)).toString('latin1')
  return { driver, identify, at, view, text }
}

test('Identify Controller: the fields that drivers read, at the specification’s offsets (NVMe 1.4 figure 247)', () => {
  const { identify, at, view, text } = enabled()
  expect(identify(1, 0).status).toBe(0)
  expect(view.getUint16(at, true)).toBe(0xf0f0)
  expect(text(4, 20)).toBe('SER1AL'.padEnd(20))
  expect(text(24, 40)).toMatch(/^iospace NVMe controller +$/)
  expect(text(64, 8)).toBe('1.0'.padEnd(8))
  expect({ mdts: view.getUint8(at + 77), ver: view.getUint32(at + 80, true) }).toEqual({ mdts: 7, ver: 0x10400 })
  expect({ type: view.getUint8(at + 111), oacs: view.getUint16(at + 256, true) }).toEqual({ type: 1, oacs: 0 })
  expect({ aerl: view.getUint8(at + 259), lpa: view.getUint8(at + 261), elpe: view.getUint8(at + 262) }).toEqual({
    aerl: 3,
    lpa: 4,
    elpe: 7,
  })
  expect({ sqes: view.getUint8(at + 512), cqes: view.getUint8(at + 513) }).toEqual({ sqes: 0x66, cqes: 0x44 })
  expect({ nn: view.getUint32(at + 516, true), oncs: view.getUint16(at + 520, true) }).toEqual({ nn: 1, oncs: 0 })
  expect({ vwc: view.getUint8(at + 525), sgls: view.getUint32(at + 536, true) }).toEqual({ vwc: 7, sgls: 0 })
  expect(text(768, 256)).toMatch(/^nqn\.2014-08\.org\.nvmexpress:f0f0f0f0SER1AL\0+$/)
  expect(view.getUint16(at + 2048, true)).toBe(2500)
})

test.each([
  [0, 0],
  [1, 1],
  [512, 1],
  [513, 2],
  [8192, 16],
])('Identify Namespace: a store of %i bytes has %i blocks of 512 bytes (NVMe 1.4 figure 245)', (bytes, blocks) => {
  const { identify, at, view } = enabled(bytes)
  expect(identify(0, 1).status).toBe(0)
  const sizes = [0, 8, 16].map((offset) => view.getBigUint64(at + offset, true))
  expect(sizes).toEqual(sizes.map(() => BigInt(blocks)))
  expect({ nlbaf: view.getUint8(at + 25), flbas: view.getUint8(at + 26) }).toEqual({ nlbaf: 0, flbas: 0 })
  expect(view.getUint32(at + 128, true)).toBe(9 << 16)
  expect(view.getUint8(at + 99)).toBe(0)
})

test('Identify Namespace: a read-only store is a write protected namespace (NVMe 1.4 figure 245, NSATTR)', () => {
  const { identify, at, view } = enabled(512, true)
  identify(0, 1)
  expect(view.getUint8(at + 99)).toBe(1)
})

test.each([0, 2, 0xffff_ffff])('Identify Namespace %i: invalid namespace (NVMe 1.4 5.15.2.1)', (nsid) => {
  const { identify } = enabled()
  expect(identify(0, nsid)).toMatchObject({ status: 0x0b, dnr: true })
  expect(identify(3, nsid)).toMatchObject({ status: 0x0b, dnr: true })
})

test('the active namespace list holds identifiers above the one given (NVMe 1.4 5.15.2.3)', () => {
  const { driver, identify, at, view } = enabled()
  identify(2, 0)
  expect([view.getUint32(at, true), view.getUint32(at + 4, true)]).toEqual([1, 0])
  identify(2, 1)
  expect(view.getUint32(at, true)).toBe(0)
  expect([0xffff_fffe, 0xffff_ffff].map((nsid) => identify(2, nsid).status)).toEqual([0x0b, 0x0b])
  expect(driver.bytes(BUFFER, 4096).every((byte) => byte === 0)).toBe(true)
})

test('the namespace identification descriptors hold a UUID that depends on the serial number alone (NVMe 1.4 5.15.2.4)', () => {
  const uuid = () => {
    const { driver, identify } = enabled()
    identify(3, 1)
    return Buffer.from(driver.bytes(BUFFER, 24)).toString('hex')
  }
  expect(uuid()).toMatch(/^03100000[0-9a-f]{12}8[0-9a-f]{3}[89ab][0-9a-f]{15}00000000$/)
  expect(uuid()).toBe(uuid())
})

test('an unknown CNS is an invalid field, and nothing is written (NVMe 1.4 5.15)', () => {
  const { driver, identify } = enabled()
  expect(identify(0x10, 1)).toMatchObject({ status: 0x02, dnr: true })
  expect(driver.bytes(BUFFER, 4096).every((byte) => byte === 0xee)).toBe(true)
})

test('identify data that cannot be delivered is a data transfer error, and its PRPs are checked (NVMe 1.4 4.6.1.2.1)', () => {
  const { driver } = enabled()
  driver.gate.block(BUFFER)
  expect(driver.admin({ opcode: 6, prp1: BUFFER, cdw10: 1 })).toMatchObject({ status: 0x04, dnr: false })
  expect(driver.admin({ opcode: 6, prp1: 0x9000 + 2, cdw10: 1 }).status).toBe(0x13)
  expect(driver.admin({ opcode: 6, prp1: 0x9800, prp2: 0xa004, cdw10: 1 }).status).toBe(0x13)
  expect(driver.admin({ opcode: 6, prp1: 0x9800, prp2: 0xc000, cdw10: 1 }).status).toBe(0)
  const name = Buffer.from(driver.bytes(0x9800 + 24, 7)).toString()
  expect([name, driver.bytes(0xc000, 1)[0]]).toEqual(['iospace', 0xc4])
})
