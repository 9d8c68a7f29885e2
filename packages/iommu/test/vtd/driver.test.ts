import { describe, expect, test } from 'vitest'
import { DriverStatus, type IommuFault } from '../../src/driver.ts'
import { vtdPersonalities } from '../../src/hardware.ts'
import { DATA, Rig } from './rig.ts'

/** The driver on the unit, seen through DMA, registers and its own answers (facts A.6). */
const personalities = Object.values(vtdPersonalities)
const at = (mfn: number): number => mfn * 4096
const M2 = 2 ** 21
const G1 = 2 ** 30

describe.each(personalities)('$name', (personality) => {
  const start = () => {
    const rig = new Rig({ personality })
    return { rig, ...rig.start() }
  }

  test('after enable: QIES, RTPS, IRES, IRTPS and TES are set, everything is blocked [vtd.driver.order.enable]', () => {
    const rig = new Rig({ personality })
    const device = rig.device()
    expect(rig.driver.enable()).toBe(0)
    expect(rig.read(0x1c)).toBe(0xc7000000)
    expect(device.get(0)).toBe(-1n)
    expect(rig.faults()).toMatchObject([{ reason: 1 }])
  })

  test('map, use, unmap: the page is reachable exactly in between, in both directions', () => {
    const { rig, device, table } = start()
    expect(device.get(0x5000)).toBe(-1n)
    expect(rig.map(table, 0x5000, DATA, 1)).toBe(0)
    expect(device.put(0x5008, 77n)).toBe(2)
    expect(rig.load(at(DATA) + 8)).toBe(77n)
    expect(device.get(0x5008)).toBe(77n)
    expect([rig.frameOf(table, 0x5000), rig.accessOf(table, 0x5000)]).toEqual([DATA, 3])
    expect(rig.unmap(table, 0x5000, 1)).toBe(0)
    expect([device.get(0x5008), device.put(0x5008, 1n)]).toEqual([-1n, -1])
    expect([rig.frameOf(table, 0x5000), rig.accessOf(table, 0x5000)]).toEqual([-1, 0])
  })

  test.each([
    [1, [2, -1]],
    [2, [-1, 2]],
    [3, [2, 2]],
  ])('access %i of a mapping: outcome of a read and a write', (access, outcomes) => {
    const { rig, device, table } = start()
    rig.map(table, 0x5000, DATA, 1, access)
    expect([device.read(0x5000, 8), device.put(0x5000, 1n)]).toEqual(outcomes)
    expect(rig.accessOf(table, 0x5000)).toBe(access)
  })

  test('frames above 4 GiB, and the last page of the address space', () => {
    const { rig, device, table } = start()
    const last = 2 ** rig.bits - 4096
    expect(rig.map(table, last, 0x100000 + 5, 1)).toBe(0)
    expect(device.put(last, 9n)).toBe(2)
    expect(rig.load(2 ** 32 + at(5))).toBe(9n)
    expect(rig.frameOf(table, last)).toBe(0x100005)
    expect(rig.unmap(table, last, 1)).toBe(0)
    expect(device.get(last)).toBe(-1n)
  })

  test('an address or range beyond the width, and no access at all, are unsupported', () => {
    const { rig, table } = start()
    const end = 2 ** rig.bits
    expect(rig.map(table, end, DATA, 1)).toBe(DriverStatus.unsupported)
    expect(rig.map(table, end - 4096, DATA, 2)).toBe(DriverStatus.unsupported)
    expect(rig.driver.unmap(table, 1 << (rig.bits - 32), 0, 1)).toBe(DriverStatus.unsupported)
    expect(rig.map(table, 0x5000, DATA, 1, 0)).toBe(DriverStatus.unsupported)
    expect(rig.driver.createTable(30)).toBe(DriverStatus.unsupported)
    expect(rig.map(table, end - 4096, DATA, 1)).toBe(0)
  })

  test('a range across tables of every level', () => {
    const { rig, device, table } = start()
    for (const border of [M2, G1, ...(rig.bits > 39 ? [2 ** 39] : [])]) {
      expect(rig.map(table, border - 0x3000, DATA, 6)).toBe(0)
      for (let page = 0; page < 6; page++) {
        expect(device.put(border - 0x3000 + page * 4096, BigInt(page))).toBe(2)
        expect(rig.load(at(DATA + page))).toBe(BigInt(page))
      }
      expect(rig.unmap(table, border - 0x3000, 6)).toBe(0)
      for (let page = 0; page < 6; page++) expect(device.get(border - 0x3000 + page * 4096)).toBe(-1n)
    }
  })

  test('devices of several buses and tables see each their own [vtd.root.format, vtd.context.format]', () => {
    const rig = new Rig({ personality })
    const bus = rig.machine.pci.addBridge(0, 0x20, 'root-port')
    rig.machine.pci.configWrite(0x20, 4, 2, 4)
    const devices = [rig.device(8), rig.device(16), rig.device(0, bus)]
    expect(rig.driver.enable()).toBe(0)
    const tables = devices.map(() => rig.driver.createTable(rig.bits))
    expect(new Set(tables).size).toBe(3)
    expect(tables).not.toContain(0)
    devices.forEach((device, i) => {
      expect(rig.driver.attach(device.requester, tables[i]!)).toBe(0)
      rig.map(tables[i]!, 0x5000, DATA + i, 1)
    })
    devices.forEach((device, i) => device.put(0x5000, BigInt(100 + i)))
    expect([0, 1, 2].map((i) => rig.load(at(DATA + i)))).toEqual([100n, 101n, 102n])
  })

  test('attach to another table: the old one is unreachable on return, also from the caches', () => {
    const { rig, device, table } = start()
    const other = rig.driver.createTable(rig.bits)
    rig.map(table, 0x5000, DATA, 1)
    rig.map(other, 0x6000, DATA + 1, 1)
    expect([device.put(0x5000, 1n), device.put(0x6000, 1n)]).toEqual([2, -1])
    expect(rig.driver.attach(8, other)).toBe(0)
    expect([device.put(0x5000, 1n), device.put(0x6000, 1n)]).toEqual([-1, 2])
    expect(rig.driver.destroyTable(table)).toBe(0)
  })

  test('block: faults on return, also from the caches; blocked twice is blocked', () => {
    const { rig, device, table } = start()
    rig.map(table, 0x5000, DATA, 1)
    device.put(0x5000, 1n)
    expect([rig.driver.block(8), rig.driver.block(8), rig.driver.block(99)]).toEqual([0, 0, 0])
    expect(device.put(0x5000, 2n)).toBe(-1)
    expect(rig.faults()).toMatchObject([{ reason: 2, requester: 8 }])
    expect(rig.driver.attach(8, table)).toBe(0)
    expect(device.put(0x5000, 3n)).toBe(2)
  })

  test('a destroyed table’s id is given again, and nothing of the old one is left under it', () => {
    const { rig, device, table } = start()
    rig.map(table, 0x5000, DATA, 1)
    device.put(0x5000, 1n)
    rig.driver.block(8)
    expect(rig.driver.destroyTable(table)).toBe(0)
    const again = rig.driver.createTable(rig.bits)
    expect(again).toBe(table)
    rig.driver.attach(8, again)
    expect(device.put(0x5000, 2n)).toBe(-1)
    expect(rig.driver.tablePages(again)).toBe(1)
  })

  test('disable: DMA passes again, every page is given back; it can be enabled anew', () => {
    const { rig, device, table } = start()
    rig.map(table, 0x5000, DATA, 600)
    expect(rig.held.size).toBeGreaterThan(5)
    rig.driver.disable()
    expect(rig.held.size).toBe(0)
    expect(rig.read(0x1c) & 0x84000000).toBe(0)
    expect(device.put(at(DATA), 1n)).toBe(1)
    expect(rig.driver.enable()).toBe(0)
    expect(device.put(at(DATA), 1n)).toBe(-1)
  })

  test('enable takes a unit over that firmware left translating, with a full fault log', () => {
    const rig = new Rig({ personality })
    rig.turnOn()
    rig.queueOn()
    const device = rig.device()
    for (let i = 0; i < 10; i++) device.get(0)
    expect(rig.driver.enable()).toBe(0)
    expect(rig.read(0x34)).toBe(0)
    const table = rig.driver.createTable(rig.bits)
    rig.driver.attach(8, table)
    rig.map(table, 0x5000, DATA, 1)
    expect(device.put(0x5000, 1n)).toBe(2)
  })

  test('faults: each record once, with requester, page and direction; the log is empty and usable afterwards [vtd.driver.faults]', () => {
    const { rig, device } = start()
    const drained = () => {
      const seen: IommuFault[] = []
      rig.driver.drainFaults((fault) => seen.push({ ...fault }))
      return seen
    }
    expect(drained()).toEqual([])
    const records = personality.capabilities.faultRecords
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < records; i++)
        expect(
          i % 2 === 0 ? device.get(0x1_0000_0000 + i * 4096) : BigInt(device.put(0x1_0000_0000 + i * 4096, 1n)),
        ).toBe(-1n)
      expect(drained()).toEqual(
        Array.from({ length: records }, (_, i) => ({
          requester: 8,
          hi: 1,
          lo: i * 4096,
          write: i % 2 === 1,
          addressValid: true,
          hardwareReason: i % 2 === 1 ? 5 : 6,
          lostBefore: false,
        })),
      )
    }
    for (let i = 0; i <= records; i++) device.get(0)
    expect(drained().map(({ lostBefore }) => lostBefore)).toEqual(
      Array.from({ length: records }, (_, i) => i === records - 1),
    )
    device.get(0)
    expect(drained()).toHaveLength(1)
  })

  test('the fault interrupt is the message that was set', () => {
    const { rig, device } = start()
    rig.driver.setFaultInterrupt(0xfee01000, 0x61)
    device.get(0)
    expect(rig.machine.interrupts.received[0x61]).toBe(1)
  })

  test('ownFrames are the pages that it holds, and DMA to none of them succeeds', () => {
    const { rig, device, table } = start()
    rig.map(table, 0x5000, DATA, 1)
    const own = rig.driver.ownFrames()
    expect(new Set(own)).toEqual(rig.held)
    for (const mfn of own) expect(device.put(at(mfn), 1n)).toBe(-1)
  })
})

describe('capabilities as data', () => {
  test.each([
    ['nehalem-ep', [48], 0x1000, 255],
    ['sandybridge-ep', [48], 0x40201000, 255],
    ['sapphirerapids-sp', [48, 57], 0x40201000, 65535],
    ['qemu39', [39], 0x40201000, 65535],
    ['qemu48', [39, 48], 0x40201000, 65535],
  ] as const)('%s', (name, tableWidths, pageSizes, tables) => {
    expect(new Rig({ personality: vtdPersonalities[name] }).driver.capabilities).toMatchObject({
      kind: 'vtd',
      tableWidths,
      addressBits: tableWidths.at(-1),
      pageSizes,
      tables,
      granularity: 'function',
      interruptIsolation: true,
      coherent: name === 'sapphirerapids-sp',
      invalidateOnMap: false,
    })
  })

  test('a 39-bit table on a unit with both widths', () => {
    const rig = new Rig({ personality: vtdPersonalities.qemu48 })
    rig.driver.enable()
    const table = rig.driver.createTable(39)
    rig.driver.attach(8, table)
    expect(rig.map(table, 2 ** 39, DATA, 1)).toBe(DriverStatus.unsupported)
    expect(rig.map(table, 2 ** 39 - 4096, DATA, 1)).toBe(0)
    const device = rig.device()
    expect(device.put(2 ** 39 - 4096, 1n)).toBe(2)
    expect(device.put(2 ** 39, 1n)).toBe(-1)
    expect(rig.faults()).toMatchObject([{ reason: 4 }])
  })

  test('256 domains: 255 tables, then noTable; one destroyed makes room for one', () => {
    const rig = new Rig()
    rig.driver.enable()
    const tables = Array.from({ length: 255 }, () => rig.driver.createTable(48))
    expect(tables.every((table) => table > 0)).toBe(true)
    expect(rig.driver.createTable(48)).toBe(DriverStatus.noTable)
    expect(rig.driver.destroyTable(100)).toBe(0)
    expect([rig.driver.createTable(48), rig.driver.createTable(48)]).toEqual([100, DriverStatus.noTable])
  })
})

describe('mistakes of the caller are exceptions', () => {
  test('use before enable, enable twice', () => {
    const rig = new Rig()
    expect(() => rig.driver.completeInvalidations()).toThrow('used before it was enabled')
    rig.driver.enable()
    expect(() => rig.driver.enable()).toThrow('enabled twice')
  })

  test('a table that does not exist, or is in use', () => {
    const { driver } = new Rig()
    driver.enable()
    expect(() => driver.attach(8, 5)).toThrow('IOMMU table 5: does not exist')
    const table = driver.createTable(48)
    driver.attach(8, table)
    expect(() => driver.destroyTable(table)).toThrow('destroyed while a device is attached')
  })

  test('mapping over a mapping', () => {
    const rig = new Rig()
    const { table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    expect(() => rig.map(table, 0x5000, DATA, 1)).toThrow('0x5000 is mapped')
    expect(() => rig.map(table, 0x4000, DATA, 2)).toThrow('is mapped')
    rig.map(table, M2, 0, 512)
    expect(() => rig.map(table, M2 + 0x1000, DATA, 1)).toThrow('is mapped')
    expect(() => rig.map(table, M2 + 0x1000, DATA, 2)).toThrow('is mapped')
  })

  test('a unit without queued invalidation', () => {
    const { qemu48 } = vtdPersonalities
    expect(() => new Rig({ personality: { ...qemu48, ecapLow: qemu48.ecapLow & ~2 } })).toThrow(
      'needs queued invalidation',
    )
  })
})
