import { Machine } from '@iospace/machine'
import { describe, expect, test } from 'vitest'
import { CalgaryDriver, DriverStatus, type IommuFault, MachinePort } from '../../src/driver.ts'
import { CALGARY_BASE, calgaryPersonalities, installCalgary, iommuModels, type StaleHit } from '../../src/hardware.ts'
import { DATA, DriverRig } from '../shared/driver-rig.ts'
import { at } from '../shared/driver-suite.ts'
import { calgaryUnit } from '../shared/units.ts'
import { reversed } from './board.ts'

const { calgary, calioc2 } = calgaryPersonalities
const unit = calgaryUnit(calgary)
const turn = (): Promise<void> => Promise.resolve()

const get = (rig: DriverRig, offset: number): number => reversed(rig.machine.mmio.read32(CALGARY_BASE + offset))
const set = (rig: DriverRig, offset: number, value: number): void => {
  rig.machine.mmio.write32(CALGARY_BASE + offset, reversed(value))
  rig.machine.mmio.read32(CALGARY_BASE + offset)
}

describe('capabilities', () => {
  test('as data: buses, 4 KiB, 25 to 32 bits, read or both, faults without an interrupt [calgary.isolation.bus, calgary.tce.flat]', () => {
    const { capabilities } = new DriverRig(unit).driver
    expect(capabilities).toEqual({
      kind: 'calgary',
      pageSizes: 0x1000,
      addressBits: 32,
      tableWidths: [25, 26, 27, 28, 29, 30, 31, 32],
      tableOrder: 11,
      window: { first: 0, end: 0x1_0000_0000 },
      untranslated: [
        [0xa0000, 0x100000],
        [0xe0000000, 0xfec00000],
      ],
      granularity: 'bus',
      writeOnly: false,
      readOnly: true,
      interruptIsolation: false,
      faultRecords: true,
      faultInterrupt: false,
      coherent: false,
      invalidateOnMap: false,
      dirtyBits: false,
      tables: 1023,
    })
  })

  test('the windows that firmware opened, of all bridges, as few ranges as there are [calgary.window.reserved, calgary.window.memory2]', () => {
    const rig = new DriverRig(calgaryUnit(calioc2))
    for (const bridge of [0, 1, 2]) set(rig, 0x81c0 + bridge * 0x1000, 0)
    // MEM1 of bridge 3: 0x30000000 and 1 MiB. MEM2: bridge 0 from 0 on, bridge 1 beside it, bridge 2 above 4 GiB, bridge 3 across it, but off.
    set(rig, 0xb190, 0x30000000)
    set(rig, 0xb1c0, 0x30000000)
    for (const [bridge, base, limit] of [
      [0, 0x00100000, 0x00200000],
      [1, 0x00300000, 0x00300000],
      [3, 0xfff00000, 0xfff00000],
    ] as const) {
      set(rig, 0x82b0 + bridge * 0x1000, base)
      set(rig, 0x82e0 + bridge * 0x1000, limit)
      if (bridge !== 3) set(rig, 0x8160 + bridge * 0x1000, 0x00400000)
    }
    set(rig, 0xa2c0, 1)
    set(rig, 0xa2d0, 1)
    set(rig, 0xa160, 0x00400000)
    const again = rig.unit.driver(rig.unit.port({ allocatePage: () => -1, freePage: () => {} }))
    expect(again.capabilities.untranslated).toEqual([
      [0, 0x400000],
      [0x30000000, 0x30100000],
    ])
  })

  test('a window that ends above 4 GiB ends there for the table', () => {
    const rig = new DriverRig(unit)
    set(rig, 0x82b0, 0xfff00000)
    set(rig, 0x82d0, 1)
    set(rig, 0x82e0, 0)
    set(rig, 0x8160, 0x00400000)
    const again = rig.unit.driver(rig.unit.port({ allocatePage: () => -1, freePage: () => {} }))
    expect(again.capabilities.untranslated.at(-1)).toEqual([0xfff00000, 0x1_0000_0000])
  })

  test('groups are the buses of a bridge [calgary.isolation.bus]', () => {
    const { driver } = new DriverRig(unit)
    expect([0, 8, 0xff, 0x100, 0x1ff, 0x2a5, 0x300, 0x4711, 0xffff].map((id) => driver.groupOf(id))).toEqual([
      0, 0, 0, 0x100, 0x100, 0x200, 0x300, 0x300, 0x300,
    ])
  })
})

describe('mapping', () => {
  test.each([
    [calgary, 0x9f, [0, -4, -4, -4, 0]],
    [calioc2, 0x9f, [-4, -4, -4, -4, 0]],
  ] as const)('nothing in the windows, $name [calgary.window.reserved]', (personality, page, statuses) => {
    const rig = new DriverRig(calgaryUnit(personality))
    rig.driver.enable()
    const table = rig.driver.createTable(32)
    const map = (first: number, pages: number) => rig.driver.map(table, 0, first << 12, DATA, pages, 3)
    expect([map(page, 1), map(page + 1, 1), map(page, 2), map(0xff, 2), map(0x100, 1)]).toEqual(statuses)
    expect([map(0xdffff, 2), map(0xe0000, 1), map(0xfebff, 1), map(0xfec00, 1)]).toEqual([-4, -4, -4, 0])
  })

  test('frameOf and accessOf of what no table can have', () => {
    const rig = new DriverRig(unit)
    rig.driver.enable()
    const table = rig.driver.createTable(25)
    expect([rig.driver.frameOf(table, 1, 0), rig.driver.accessOf(table, 0, 0x2000000)]).toEqual([-1, 0])
  })

  test('all functions of a bus move together [calgary.isolation.bus]', () => {
    const rig = new DriverRig(unit)
    const { device, table } = rig.start(27)
    const mate = rig.device(0x10)
    const far = rig.device(0, rig.newBus())
    rig.map(table, 0x5000, DATA, 1)
    expect([device.put(0x5000, 1n), mate.put(0x5000, 1n), far.put(0x5000, 1n)]).toEqual([2, 2, -1])
    const other = rig.driver.createTable(25)
    rig.driver.attach(mate.requester, other)
    expect([device.put(0x5000, 1n), mate.put(0x5000, 1n)]).toEqual([-1, -1])
    rig.driver.attach(8, table)
    expect(rig.driver.block(mate.requester)).toBe(0)
    expect(device.put(0x5000, 1n)).toBe(-1)
  })

  test('a bus that no bridge leads to: attach is unsupported, block has nothing to do', () => {
    const rig = new DriverRig(unit)
    set(rig, 0x7020, 0x00030300)
    const driver = rig.unit.driver(
      rig.unit.port({ allocatePage: () => -1, allocateRun: () => 4096 + 2048, freePage: () => {} }),
    )
    driver.enable()
    const table = driver.createTable(25)
    expect([driver.attach(0x400, table), driver.block(0x400), driver.groupOf(0x4ff)]).toEqual([-4, 0, 0x400])
  })

  test('no interrupt isolation, no fault interrupt, nothing to reclaim', () => {
    const rig = new DriverRig(unit)
    const { table } = rig.start(25)
    rig.driver.setFaultInterrupt(0xfee00000, 0x61)
    const message = { addressLow: 0, addressHigh: 0, data: 0 }
    expect([
      rig.driver.mapInterrupt(8, 0x61, message),
      rig.driver.unmapInterrupt(8, 0),
      rig.driver.reclaim(table),
    ]).toEqual([DriverStatus.unsupported, DriverStatus.unsupported, 0])
  })
})

describe('tables', () => {
  test('each width takes a run of its own size, aligned to it [calgary.tar.size-code, calgary.tar.aligned]', () => {
    const rig = new DriverRig(unit)
    rig.driver.enable()
    expect(rig.driver.ownFrames()).toHaveLength(16)
    for (let bits = 25; bits <= 32; bits++) {
      const table = rig.driver.createTable(bits)
      const pages = 16 * 2 ** (bits - 25)
      const frames = rig.driver.ownFrames().slice(16)
      expect([rig.driver.tablePages(table), frames.length, frames[0]! % pages]).toEqual([pages, pages, 0])
      rig.driver.destroyTable(table)
    }
    expect(rig.driver.createTable(24)).toBe(DriverStatus.unsupported)
  })

  test('no memory for one, for the empty one, no handle left; a run that is not aligned is the port’s mistake', () => {
    const rig = new DriverRig(unit)
    const runs: number[] = []
    const driver = rig.unit.driver(
      rig.unit.port({ allocatePage: () => -1, allocateRun: () => runs.shift() ?? -1, freePage: () => {} }),
    )
    expect(driver.enable()).toBe(DriverStatus.noMemory)
    runs.push(4096)
    expect([driver.enable(), driver.createTable(25)]).toEqual([0, DriverStatus.noMemory])
    runs.push(4097)
    expect(() => driver.createTable(25)).toThrow('aligned')
    runs.push(...Array.from({ length: 1023 }, () => 6144))
    const made = Array.from({ length: 1023 }, () => driver.createTable(25))
    expect([made[0], made.at(-1)]).toEqual([1, 1023])
    expect(driver.createTable(25)).toBe(DriverStatus.noTable)
  })

  test('used before it was enabled', () => {
    const { driver } = new DriverRig(unit)
    expect(() => driver.createTable(25)).toThrow('used before it was enabled')
    expect(() => driver.block(8)).toThrow('used before it was enabled')
    expect(() => driver.map(0, 0, 0, 0, 1, 3)).toThrow('does not exist')
  })
})

describe('a chip that somebody used before [calgary.kdump]', () => {
  test('its table is replaced, its errors, isolation and stopped bus undone', () => {
    const rig = new DriverRig(unit)
    const device = rig.device()
    // An old table with one entry, 0x1000000 → DATA, cached; its kernel crashed inside a blast after the watchdog isolated the bus.
    rig.store(0x100000 + 0x1000 * 8, 0x0300800000000000n)
    set(rig, 0x580, 0)
    set(rig, 0x584, 0x00100000)
    set(rig, 0x8160, 0x20100000)
    expect([device.put(0, 1n), device.put(0x5000, 1n)]).toEqual([2, -1])
    expect(get(rig, 0x8110)).not.toBe(0)
    set(rig, 0x8160, 0x3c100000)
    set(rig, 0x8200, 0)
    expect(rig.driver.enable()).toBe(0)
    expect([get(rig, 0x8110), get(rig, 0x8160), get(rig, 0x8200)]).toEqual([0, 0x21100000, 0xffffffff])
    expect([device.put(0, 1n), device.put(at(DATA), 1n)]).toEqual([-1, -1])
    const table = rig.driver.createTable(25)
    rig.driver.attach(8, table)
    rig.map(table, 0x5000, DATA, 1)
    expect(device.put(0x5000, 1n)).toBe(2)
  })

  test('its bits of TAR stay, through attach, block and disable [calgary.tar.software-bits]', () => {
    const rig = new DriverRig(unit)
    // Everything but 0x0000FFFFFFFF800F.
    set(rig, 0x580, 0xffff0000)
    set(rig, 0x584, 0x00007ff0)
    set(rig, 0x588, 0x12345678)
    set(rig, 0x58c, 0x9abcdef8)
    const tars = () => [get(rig, 0x580), get(rig, 0x584), get(rig, 0x588), get(rig, 0x58c)]
    rig.driver.enable()
    expect(tars()).toEqual([0xffff0000, 0x01007ff0, 0x12340000, 0x01005ef0])
    const table = rig.driver.createTable(26)
    rig.driver.attach(8, table)
    expect(tars().slice(0, 2)).toEqual([0xffff0000, 0x01027ff1])
    rig.driver.block(8)
    expect(tars().slice(0, 2)).toEqual([0xffff0000, 0x01007ff0])
    rig.driver.disable()
    expect(tars()).toEqual([0xffff0000, 0x00007ff0, 0x12340000, 0x00005ef0])
  })

  test('CalIOC2 left in hard stop', () => {
    const rig = new DriverRig(calgaryUnit(calioc2))
    const { mmio } = rig.machine
    mmio.write32(CALGARY_BASE + 0x8da8, reversed(0x80000000))
    expect(reversed(mmio.read32(CALGARY_BASE + 0x8da8))).toBe(0xa0000000)
    const { device, table } = rig.start(25)
    expect(get(rig, 0x8da8)).toBe(0)
    rig.map(table, 0x5000, DATA, 1)
    rig.elapse(2e6)
    expect([device.put(0x5000, 1n), get(rig, 0x8db0)]).toEqual([2, 0x00800000])
  })

  test('a table above 4 GiB has its upper half in TAR', () => {
    const rig = new DriverRig(unit)
    const driver = rig.unit.driver(
      rig.unit.port({ allocatePage: () => -1, allocateRun: () => 0x100010, freePage: () => {} }),
    )
    driver.enable()
    expect([get(rig, 0x580), get(rig, 0x584)]).toEqual([1, 0x10000])
  })
})

describe('faults [calgary.errors.no-address]', () => {
  const drained = (rig: DriverRig): IommuFault[] => {
    const seen: IommuFault[] = []
    rig.driver.drainFaults((fault) => seen.push({ ...fault }))
    return seen
  }

  test('one record per bridge in error: whose bus, CSR as reason, no address; then CSR is clear and records anew [calgary.csr.clear]', () => {
    const rig = new DriverRig(unit)
    expect(drained(rig)).toEqual([])
    const { device } = rig.start(25)
    const far = rig.device(0x18, rig.newBus())
    for (let i = 0; i < 5; i++) device.get(0x5000)
    far.put(0x7000, 1n)
    const common = { hi: 0, lo: 0, write: false, addressValid: false, lostBefore: false }
    expect(drained(rig)).toEqual([
      { requester: 0, hardwareReason: 0x80010000, ...common },
      { requester: 0x100, hardwareReason: 0x80030000, ...common },
    ])
    expect([drained(rig), get(rig, 0x8110), get(rig, 0x9110)]).toEqual([[], 0, 0])
    device.get(0x5000)
    expect(drained(rig)).toMatchObject([{ requester: 0 }])
  })

  test('what is refused while the record is looked at is not lost', () => {
    const rig = new DriverRig(unit)
    const { device } = rig.start(25)
    device.get(0x5000)
    rig.driver.drainFaults(() => device.get(0x6000))
    expect(drained(rig)).toHaveLength(1)
  })

  test('an agent without an error is none: 20:16 alone [calgary.csr.error]', () => {
    const rig = new DriverRig(unit)
    rig.driver.enable()
    const port = rig.unit.port({ allocatePage: () => -1, allocateRun: () => 6144, freePage: () => {} })
    const read32 = port.read32.bind(port)
    let csr = 0x001f0000
    port.read32 = (address) => (address === CALGARY_BASE + 0x8110 ? reversed(csr) : read32(address))
    const driver = rig.unit.driver(port)
    driver.enable()
    const seen: number[] = []
    driver.drainFaults(({ hardwareReason }) => seen.push(hardwareReason))
    csr = 0x00200000
    driver.drainFaults(({ hardwareReason }) => seen.push(hardwareReason))
    expect(seen).toEqual([0x00200000])
  })
})

describe('in a machine', () => {
  const machine = () => new Machine({ memory: { lowFrames: 8192, highFrames: 0, boardBytes: 1 << 16 }, seed: 1, turn })

  test('install and driver by name; as many chips as buses need [calgary.registers.block]', () => {
    const made = machine()
    const model = iommuModels['calgary']!
    expect([model.personalities, model.defaultPersonality]).toEqual([['calgary', 'calioc2'], 'calgary'])
    expect(() => model.driver(made, { allocatePage: () => -1, freePage: () => {} })).toThrow('is not in this machine')
    for (let i = 1; i <= 8; i++) made.pci.addBridge(0, i * 8, 'root-port')
    model.install(made, 'calioc2')
    // Buses 0 to 7: functions on them are all there is; a bus without functions has a bridge all the same.
    expect([0xd0000000, 0xd0100000].map((base) => made.mmio.claims(base))).toEqual([true, false])
    const driver = model.driver(made, { allocatePage: () => -1, allocateRun: () => 4096, freePage: () => {} })
    expect([driver.enable(), driver.capabilities.untranslated[0]]).toEqual([0, [0, 0x100000]])
  })

  test('several chips: every bus behind the bridge of its number, the last has the rest; the detector hears all [calgary.isolation.bus, calgary.cache.detector]', () => {
    const rig = new DriverRig({
      ...unit,
      install(made: Machine) {
        const chassis = installCalgary(made, calgary, { chips: 3 })
        chassis.onStaleHit = (hit) => seen.push({ ...hit })
        expect(chassis.onStaleHit).toBeTypeOf('function')
        return {
          port: (options) => new MachinePort(made, { ...options, coherent: false }),
          driver: (port) =>
            new CalgaryDriver(port, { chips: [0, 1, 2].map((i) => CALGARY_BASE + i * 0x100000), deviceId: 0x2a1 }),
          walk: () => -1,
        }
      },
    })
    const seen: StaleHit[] = []
    const buses = Array.from({ length: 13 }, () => rig.newBus())
    const devices = [rig.device(8), ...buses.map((bus) => rig.device(0, bus))]
    expect(devices.map((device) => rig.driver.groupOf(device.requester) >> 8)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 11,
    ])
    rig.driver.enable()
    expect(devices.map((device) => device.put(0x5000, 1n))).toEqual(devices.map(() => -1))
    const table = rig.driver.createTable(25)
    rig.driver.attach(5 << 8, table)
    rig.map(table, 0x5000, DATA, 1)
    expect(devices.map((device) => device.put(0x5000, 1n))).toEqual(devices.map((_, i) => (i === 5 ? 2 : -1)))
    rig.clear(table, 0x5000, 1)
    expect([devices[5]!.read(0x5000), seen.length]).toEqual([2, 1])
  })

  test('buses of several chips that nobody leads to', () => {
    const made = machine()
    const chassis = installCalgary(made, calgary, { chips: 2 })
    for (const chip of [0, 1])
      for (const bridge of [0, 1, 2, 3]) {
        made.mmio.write32(CALGARY_BASE + chip * 0x100000 + 0x4020 + bridge * 0x1000, reversed(0x00700000))
        made.mmio.read32(CALGARY_BASE + chip * 0x100000)
      }
    expect([chassis.dmaRead(8, 0, 0, 0, 4), chassis.dmaWrite(8, 0, 0, 0, 4)]).toEqual([-2, -2])
    expect([chassis.translator, chassis.onStaleHit, chassis.personality.name]).toEqual([chassis, null, 'calgary'])
  })
})
