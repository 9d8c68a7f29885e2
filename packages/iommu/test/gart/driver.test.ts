import { Machine } from '@iospace/machine'
import { describe, expect, test } from 'vitest'
import { type DriverPort, DriverStatus, findGartNodes, GartDriver, MachinePort } from '../../src/driver.ts'
import { gartPersonalities, iommuModels } from '../../src/hardware.ts'
import { turn } from '../amdvi/board.ts'
import { driverFaultySuite, secondOwner } from '../shared/driver-faulty-suite.ts'
import { driverOrderSuite } from '../shared/driver-order-suite.ts'
import { driverPropertySuite } from '../shared/driver-property-suite.ts'
import { changed, DATA, DriverRig, type RigOptions } from '../shared/driver-rig.ts'
import { at, driverSuite } from '../shared/driver-suite.ts'
import { gartUnit } from '../shared/units.ts'
import { APERTURE, BASE, Board, CACHE, CONTROL, TABLE_BASE } from './board.ts'

const { k8, 'k8-e156': erratum, family10h } = gartPersonalities

describe.each([gartUnit(k8), gartUnit(erratum), gartUnit(family10h, 'fail', { nodes: 2 })])('$name', (unit) => {
  driverSuite(unit)
  driverOrderSuite(unit)
  driverFaultySuite(unit)
})
// The table: 64 KiB; the scratch page.
describe('a map of pages', () => driverPropertySuite(gartUnit({ ...k8, tlb: { sets: 1, ways: 3 } }), 17))

/** With pages that are not mapped as Linux has them: on the scratch page. */
function start(options?: RigOptions, nodes = 1) {
  const rig = new DriverRig(gartUnit(erratum, 'scratch', { nodes }), options)
  return { rig, ...rig.start() }
}

describe('what a GART is, as data', () => {
  test('no rights, no isolation, no records, one table; the window is the aperture [gart.access.no-rights, gart.access.no-isolation]', () => {
    const { rig } = start()
    expect(rig.driver.capabilities).toEqual({
      kind: 'gart',
      pageSizes: 0x1000,
      addressBits: 32,
      tableWidths: [32],
      tableOrder: 4,
      window: { first: 0xc0000000, end: 0xc4000000 },
      untranslated: [],
      granularity: 'none',
      writeOnly: false,
      readOnly: false,
      interruptIsolation: false,
      faultRecords: false,
      faultInterrupt: false,
      coherent: false,
      invalidateOnMap: true,
      dirtyBits: false,
      tables: 1,
    })
  })

  test('every requester is in the one group; there is one table; nobody can be blocked [gart.access.no-isolation]', () => {
    const { rig, table, device } = start()
    expect([0, 8, 0x100, 0xffff].map((requester) => rig.driver.groupOf(requester))).toEqual([0, 0, 0, 0])
    expect(rig.driver.createTable(32)).toBe(DriverStatus.noTable)
    rig.map(table, 0x5000, DATA, 1)
    const stranger = rig.other()
    expect([rig.driver.block(8), device.put(0x5000, 1n), stranger.put(0x5000, 2n)]).toEqual([
      DriverStatus.unsupported,
      2,
      2,
    ])
    expect(rig.load(at(DATA))).toBe(2n)
    expect(rig.driver.attach(stranger.requester, table)).toBe(0)
    expect(() => rig.driver.destroyTable(table)).toThrow('destroyed while a device is attached')
    rig.driver.block(stranger.requester)
    expect([rig.driver.destroyTable(table), rig.driver.createTable(32)]).toEqual([0, table])
  })

  test('a device reaches everything outside the aperture, the table itself too [gart.access.no-isolation, gart.base.outside]', () => {
    const { rig, device, table } = start()
    rig.map(table, 0x5000, DATA, 1)
    for (const mfn of rig.driver.ownFrames()) expect(device.read(at(mfn) - rig.origin)).toBe(1)
    const [first] = rig.driver.ownFrames()
    // Page 5 of the aperture: to another frame, by the device itself.
    expect(device.put(at(first!) + 4 * 4 - rig.origin, 0x0080_1003_0000_0000n)).toBe(1)
    expect([device.put(0x5000, 9n), rig.load(at(DATA + 1))]).toEqual([2, 9n])
  })

  test('no interrupts of its own, none remapped', () => {
    const { rig } = start()
    const message = { addressLow: 0, addressHigh: 0, data: 0 }
    expect(rig.driver.mapInterrupt(8, 0x41, message)).toBe(DriverStatus.unsupported)
    expect(rig.driver.unmapInterrupt(8, 0)).toBe(DriverStatus.unsupported)
    rig.driver.setFaultInterrupt(0xfee00000, 0x61)
    expect(rig.faults()).toEqual([])
  })
})

describe('enable', () => {
  test('order without GartEn, base, table base, then bits 0 and 6; on every node; then a flush [gart.driver.enable-order, gart.nodes.alike, gart.table.flat]', () => {
    const board = new Board({ nodes: 2 })
    for (const node of [0, 1]) {
      // What firmware left: enabled, for nobody, with another base on node 1.
      board.write(CONTROL, 0x33, node)
      board.write(BASE, 0x60 + node, node)
      board.write(0x40, 0x400, node)
    }
    const writes: string[] = []
    const config = {
      configRead: (bdf: number, offset: number, size: number) => board.machine.pci.configRead(bdf, offset, size),
      configWrite(bdf: number, offset: number, size: number, value: number) {
        writes.push(`${(bdf >> 3).toString(16)}.${bdf & 7} ${offset.toString(16)}=${value.toString(16)}`)
        board.machine.pci.configWrite(bdf, offset, size, value)
      },
    }
    let next = 0x600
    const port = new MachinePort(board.machine, {
      allocatePage: () => next++,
      allocateRun: (order) => {
        expect(order).toBe(4)
        return 0x500
      },
      freePage: () => {},
      coherent: true,
    })
    board.gart.onCoherent = (coherent) => (port.coherent = coherent)
    const driver = new GartDriver(port, { nodes: findGartNodes(config), config })
    expect(driver.enable()).toBe(0)
    expect(writes).toEqual([
      '18.3 90=2',
      '19.3 90=2',
      '18.3 94=60',
      '19.3 94=60',
      '18.3 98=5000',
      '19.3 98=5000',
      '18.3 40=0',
      '19.3 40=0',
      '18.3 90=43',
      '19.3 90=43',
      '18.3 9c=1',
      '19.3 9c=1',
    ])
    expect([board.read(CACHE, 0), board.read(CACHE, 1)]).toEqual([0, 0])
    // 64 MiB: 64 KiB of entries, each the guard: valid, coherent, frame 0x600.
    for (let byte = 0; byte < 65536; byte += 4) expect(board.load32(0x50_0000 + byte)).toBe(0x0060_0003)
    expect(board.load32(0x51_0000)).toBe(0)
  })

  test('no aperture, one above 4 GiB, one over RAM: unsupported [gart.driver.aperture]', () => {
    const cases: [number, number, number][] = [
      [0x02, 0x00, 0],
      [0x0e, 0x60, 0],
      [0x02, 0x7f, 0],
      [0x02, 0x80, 0],
      [0x02, 0x20, 0x4000_0001],
      [0x02, 0x20, 0x4000_0000],
      [0x0c, 0x40, 0x8000_0000],
    ]
    const outcomes = cases.map(([control, base, ramEnd]) => {
      const board = new Board()
      board.write(CONTROL, control)
      board.write(BASE, base)
      let next = 0x500
      const driver = new GartDriver(
        new MachinePort(board.machine, {
          allocatePage: () => next++,
          allocateRun: (order) => (next += 2 ** order) - 2 ** order,
          freePage: () => {},
          coherent: true,
        }),
        { nodes: findGartNodes(board.machine.pci), config: board.machine.pci, ramEnd },
      )
      return [driver.enable(), driver.capabilities.window.first]
    })
    expect(outcomes).toEqual([
      [DriverStatus.unsupported, 0],
      [DriverStatus.unsupported, 0],
      [0, 0xfc000000],
      [DriverStatus.unsupported, 0],
      [DriverStatus.unsupported, 0],
      [0, 0x40000000],
      [0, 0x80000000],
    ])
  })

  test('no memory for the table or the scratch page: noMemory, nothing lost', () => {
    const poor = new DriverRig(gartUnit(k8), { pages: 0 })
    expect([poor.driver.enable(), poor.held.size]).toEqual([DriverStatus.noMemory, 0])
    poor.pages = 1
    expect([poor.driver.enable(), poor.held.size]).toEqual([0, 17])
    const without = new DriverRig(gartUnit(k8), {
      wrap: (port: DriverPort) => changed(port, { allocateRun: () => -1 }),
    })
    expect([without.driver.enable(), without.held.size]).toEqual([DriverStatus.noMemory, 0])
  })

  test('a table or scratch page beyond 1 TiB cannot be named [gart.pte.reach]', () => {
    const board = new Board()
    const freed: number[] = []
    for (const [page, run] of [
      [2 ** 28, 0x500],
      [0x600, 2 ** 28 - 15],
    ]) {
      const port = new MachinePort(board.machine, {
        allocatePage: () => page!,
        allocateRun: () => run!,
        freePage: (mfn) => freed.push(mfn),
        coherent: true,
      })
      const driver = new GartDriver(port, { nodes: findGartNodes(board.machine.pci), config: board.machine.pci })
      expect(driver.enable()).toBe(DriverStatus.noMemory)
    }
    expect(freed.length).toBe(34)
  })

  test('it must be told of a node', () => {
    const board = new Board()
    const port = new MachinePort(board.machine, { allocatePage: () => -1, freePage: () => {}, coherent: true })
    expect(() => new GartDriver(port, { nodes: [], config: board.machine.pci })).toThrow('GART nodes')
  })

  test('disable: the aperture is gone, every page is given back; it can be enabled anew', () => {
    const { rig, device, table } = start()
    rig.map(table, 0x5000, DATA, 600)
    expect(rig.held.size).toBe(17)
    rig.driver.disable()
    expect([rig.held.size, device.put(0x5000, 1n), rig.driver.ownFrames()]).toEqual([0, -2, []])
    rig.driver.drainFaults(() => {})
    expect(rig.driver.enable()).toBe(0)
    const again = rig.driver.createTable(32)
    rig.map(again, 0x5000, DATA, 1)
    expect(device.put(0x5000, 1n)).toBe(2)
    expect(() => rig.driver.reclaim(99)).toThrow('does not exist')
  })

  test('nothing works before it', () => {
    const rig = new DriverRig(gartUnit(k8))
    expect(() => rig.driver.createTable(32)).toThrow('used before it was enabled')
    expect(() => (rig.driver as GartDriver).resume()).toThrow('used before it was enabled')
    expect(() => rig.map(1, 0, DATA, 1)).toThrow('IOMMU table 1: does not exist')
    expect(rig.driver.tablePages(1)).toBe(0)
  })
})

describe('pages that are not mapped', () => {
  test('lead to the scratch page, valid: devices read and write there, and no error is noted [gart.driver.guard]', () => {
    const { rig, device, table } = start()
    const scratch = rig.driver.ownFrames().at(-1)!
    expect([device.put(0x7000, 0x5cn), rig.load(at(scratch))]).toEqual([2, 0x5cn])
    rig.map(table, 0x5000, DATA, 1)
    rig.driver.queueInvalidation(table, 0, 0, 1)
    expect(rig.driver.completeInvalidations()).toBe(0)
    expect([device.put(0x5000, 1n), device.get(0x6000), rig.load(at(DATA))]).toEqual([2, 0x5cn, 1n])
    rig.unmap(table, 0x5000, 1)
    expect([device.put(0x5000, 2n), rig.load(at(DATA)), rig.load(at(scratch))]).toEqual([2, 1n, 2n])
    expect([rig.frameOf(table, 0x5000), rig.accessOf(table, 0x5000), rig.faults()]).toEqual([-1, 0, []])
    expect((rig.driver as GartDriver).walkErrors).toBe(0)
  })

  test('told to fail, they still name it: erratum 156 reads nothing else [gart.driver.guard, gart.erratum-156]', () => {
    const rig = new DriverRig(gartUnit(erratum))
    const { device } = rig.start()
    const scratch = rig.driver.ownFrames().at(-1)!
    const [first] = rig.driver.ownFrames()
    expect(rig.load(at(first!))).toBe((BigInt(scratch) << 44n) | (BigInt(scratch) << 12n))
    expect([device.get(0x5000), device.put(0x5000, 1n), rig.load(at(scratch))]).toEqual([-1n, -1, 0n])
  })

  test('a new mapping needs a flush: the guard may be cached [gart.driver.flush-on-map]', () => {
    const { rig, device, table } = start()
    expect(device.put(0x5000, 1n)).toBe(2)
    rig.map(table, 0x5000, DATA, 1)
    expect([device.put(0x5000, 2n), rig.load(at(DATA))]).toEqual([2, 0n])
    rig.driver.queueInvalidation(table, 0, 0, 1)
    expect(rig.driver.completeInvalidations()).toBe(0)
    expect([device.put(0x5000, 3n), rig.load(at(DATA))]).toEqual([2, 3n])
  })
})

describe('mappings', () => {
  test('words of the table, typed by hand [gart.pte.address, gart.table.flat]', () => {
    const { rig, table } = start()
    const [first] = rig.driver.ownFrames()
    rig.map(table, 0x3fff000, 0x100005, 1)
    rig.map(table, 0x1000, 0xabcdef1, 2)
    const word = (index: number) => Number(rig.load(at(first!) + (index & ~1) * 4) >> BigInt(32 * (index & 1))) >>> 0
    expect([1, 2, 16383].map((index) => (word(index) & 0xffffffff) >>> 0)).toEqual([0xcdef1ab3, 0xcdef2ab3, 0x00005013])
    expect(rig.frameOf(table, 0x2000)).toBe(0xabcdef2)
  })

  test('frames from 1 TiB up are unsupported [gart.pte.reach]', () => {
    const { rig, table } = start()
    expect(rig.map(table, 0, 2 ** 28 - 1, 1)).toBe(0)
    expect(rig.map(table, 0x1000, 2 ** 28, 1)).toBe(DriverStatus.unsupported)
    expect(rig.map(table, 0x1000, 2 ** 28 - 1, 2)).toBe(DriverStatus.unsupported)
    expect(rig.map(table, 0x1000, -1, 1)).toBe(DriverStatus.unsupported)
    expect(rig.frameOf(table, 0x1000)).toBe(-1)
  })

  test('addresses outside the aperture are unsupported, and mapped to nothing', () => {
    const { rig, table } = start()
    for (const address of [-0x1000, 0x4000000, 0x3fff000]) {
      expect(rig.map(table, address, DATA, 2)).toBe(DriverStatus.unsupported)
      expect(rig.clear(table, address, 2)).toBe(DriverStatus.unsupported)
    }
    expect([rig.frameOf(table, -0x1000), rig.accessOf(table, 0x4000000)]).toEqual([-1, 0])
    expect(rig.driver.map(table, 1, APERTURE | 0, DATA, 1, 3)).toBe(DriverStatus.unsupported)
  })

  test('what a store does not write back, the hardware does not see [gart.driver.uncacheable, gart.control.dis-walk-probe]', () => {
    const forgetful = (port: DriverPort) => changed(port, { flushLine: () => {} })
    const seen = [(port: DriverPort) => port, forgetful].map((wrap) => {
      const rig = new DriverRig(gartUnit(k8), { wrap })
      const { device, table } = rig.start()
      rig.map(table, 0x5000, DATA, 1)
      return device.put(0x5000, 1n)
    })
    expect(seen).toEqual([2, -1])
  })

  test('a table of several entries a line is written back once a line', () => {
    let flushes = 0
    const { rig, table } = start({
      wrap: (port) =>
        changed(port, {
          flushLine(mfn, index) {
            flushes++
            port.flushLine(mfn, index)
          },
        }),
    })
    flushes = 0
    rig.map(table, 15 * 4096, DATA, 18)
    expect(flushes).toBe(3)
    rig.driver.unmap(table, 0, (APERTURE + 15 * 4096) | 0, 18)
    expect(flushes).toBe(6)
  })
})

describe('flush', () => {
  test('on every node, and each is waited for [gart.driver.flush-all]', () => {
    const { rig, table, device } = start({}, 2)
    const far = rig.other()
    rig.map(table, 0x5000, DATA, 1)
    device.put(0x5000, 1n)
    far.put(0x5000, 1n)
    rig.unmap(table, 0x5000, 1)
    device.put(0x5000, 2n)
    far.put(0x5000, 3n)
    expect(rig.load(at(DATA))).toBe(1n)
  })

  test('without the wait the second owner loses its data, with it it does not [gart.cache.posted, gart.cache.invalidate]', () => {
    const unit = gartUnit(k8)
    // A driver that believes each read of InvGart to be 0.
    const hasty: typeof unit = {
      ...unit,
      install(machine) {
        const installed = unit.install(machine)
        const { pci } = machine
        const read = pci.configRead.bind(pci)
        pci.configRead = (bdf, offset, size) => (offset === 0x9c ? 0 : read(bdf, offset, size))
        // And spends no time on configuration space.
        const write = pci.configWrite.bind(pci)
        pci.configWrite = (bdf, offset, size, value) =>
          offset === 0x9c ? pci.at(bdf)!.configWrite(offset, size, value) : write(bdf, offset, size, value)
        return installed
      },
    }
    expect(secondOwner(unit)).toEqual({ mapped: 2, late: -1, data: 0x600dn })
    expect(secondOwner(hasty)).toMatchObject({ mapped: 2, late: 2, data: 0x600dn })
  })

  test('only what was queued is waited for', () => {
    const { rig, table } = start()
    const flushes = () => rig.machine.clock.snapshot().invalidation
    const before = flushes()
    expect([rig.driver.completeInvalidations(), flushes() - before]).toEqual([0, 0])
    rig.driver.queueTableInvalidation(table)
    expect([rig.driver.completeInvalidations(), rig.driver.completeInvalidations(), flushes() - before]).toEqual([
      0, 0, 1,
    ])
  })

  test('a node that never answers: timedOut, and the table is kept [gart.driver.flush-all]', () => {
    let broken = false
    const unit = gartUnit(k8)
    const rig = new DriverRig(unit, { wrap: (port) => unit.silence!(port, () => broken), timeout: 50_000 })
    const { table } = rig.start()
    rig.driver.block(8)
    broken = true
    expect(rig.driver.destroyTable(table)).toBe(DriverStatus.timedOut)
    expect([rig.driver.tablePages(table), rig.driver.createTable(32)]).toEqual([16, DriverStatus.noTable])
    expect((rig.driver as GartDriver).resume()).toBe(DriverStatus.timedOut)
    broken = false
    expect([rig.driver.destroyTable(table), rig.driver.tablePages(table)]).toEqual([0, 0])
  })
})

test('GartPteErr is counted per node and cleared; no record can be made of it [gart.cache.pte-error, gart.cache.pte-error-clear]', () => {
  const rig = new DriverRig(gartUnit(k8, 'fail', { nodes: 2 }))
  const { device } = rig.start()
  const far = rig.other()
  const driver = rig.driver as GartDriver
  device.get(0x5000)
  const flushes = rig.machine.clock.snapshot().invalidation
  expect([rig.faults(), driver.walkErrors]).toEqual([[], 1])
  rig.elapse(5000)
  expect(rig.machine.clock.snapshot().invalidation).toBe(flushes)
  device.get(0x5000)
  far.get(0x5000)
  // A flush in between does not lose it.
  rig.driver.queueTableInvalidation(1)
  rig.driver.completeInvalidations()
  expect([rig.faults(), driver.walkErrors, rig.faults(), driver.walkErrors]).toEqual([[], 3, [], 3])
})

test('resume: order, base, table base, enable, on every node; mappings are as they were [gart.driver.resume, gart.reset.registers]', () => {
  const rig = new DriverRig(gartUnit(k8, 'scratch', { nodes: 2 }))
  const { device, table } = rig.start()
  rig.map(table, 0x5000, DATA, 1)
  const far = rig.other()
  const { pci } = rig.machine
  const registers = () =>
    [0xc3, 0xcb].map((bdf) => [CONTROL, BASE, TABLE_BASE].map((offset) => pci.configRead(bdf, offset, 4)))
  const before = registers()
  for (const bdf of [0xc3, 0xcb]) pci.at(bdf)!.reset()
  expect([registers(), device.put(0x5000, 1n)]).toEqual([
    [
      [0, 0, 0],
      [0, 0, 0],
    ],
    -2,
  ])
  expect((rig.driver as GartDriver).resume()).toBe(0)
  expect([registers(), device.put(0x5000, 1n), far.get(0x5000)]).toEqual([before, 2, 1n])
})

describe('the table of models', () => {
  const model = iommuModels['gart']!
  const bare = () => new Machine({ memory: { lowFrames: 4096, highFrames: 0, boardBytes: 1 << 16 }, seed: 1, turn })
  const pages = () => {
    let next = 0x500
    return {
      allocatePage: () => next++,
      allocateRun: (order: number) => (next += 2 ** order) - 2 ** order,
      freePage: () => {},
    }
  }

  test.each([
    ['k8', 0x1103_1022],
    ['k8-e156', 0x1103_1022],
    ['family10h', 0x1203_1022],
  ])('%s: installed, found, driven', (name, ids) => {
    const machine = bare()
    const unit = model.install(machine, name)
    expect(machine.pci.translator).toBe(unit.translator)
    expect([findGartNodes(machine.pci), machine.pci.configRead(0xc3, 0, 4)]).toEqual([[0xc3], ids])
    const driver = model.driver(machine, pages())
    expect([driver.enable(), driver.createTable(32)]).toEqual([0, 1])
    expect(driver.map(1, 0, (APERTURE + 0x3000) | 0, DATA, 1, 3)).toBe(0)
    machine.mmio.write32(APERTURE + 0x3000, 77)
    expect(machine.memory.words[(DATA * 4096) / 4]).toBe(77)
  })

  test('without a name it is k8; names are those of the table', () => {
    const machine = bare()
    model.install(machine)
    expect(machine.pci.configRead(0xc3, 0, 4)).toBe(0x1103_1022)
    expect([model.defaultPersonality, model.personalities]).toEqual(['k8', ['k8', 'k8-e156', 'family10h']])
    for (const name of model.personalities) expect(gartPersonalities[name as 'k8'].name).toBe(name)
  })

  test('a machine without one has no driver for it', () => {
    expect(() => model.driver(bare(), pages())).toThrow('GART: is not in this machine')
    expect(findGartNodes(bare().pci)).toEqual([])
  })

  test('a larger aperture, up to 512 MiB', () => {
    const rig = new DriverRig(gartUnit(k8, 'fail', { order: 4 }))
    expect(rig.driver.capabilities).toMatchObject({ window: { first: 0xc0000000, end: 0xe0000000 }, tableOrder: 7 })
    const { device, table } = rig.start()
    rig.map(table, 0x1ffff000, DATA, 1)
    expect(device.put(0x1ffff000, 1n)).toBe(2)
  })
})
