import { describe, expect, test } from 'vitest'
import type { DriverPort } from '../../src/driver.ts'
import { AMDVI_BASE, type AmdviPersonality, amdviPersonalities } from '../../src/hardware.ts'
import { changed, DATA, DriverRig } from '../shared/driver-rig.ts'
import { secondOwner } from '../shared/driver-faulty-suite.ts'
import { amdviUnit } from '../shared/units.ts'

/** The documented order of operations (facts B.7), as the unit sees it: stores and register writes, in words typed from the facts. */
const unit = amdviUnit(amdviPersonalities.hats6)
const hex = (value: number): string => (value >>> 0).toString(16)

/** A rig whose register writes, 16-byte stores and commands are written down. */
function recorded(personality: AmdviPersonality = amdviPersonalities.hats6) {
  const log: string[] = []
  const wrap = (port: DriverPort) =>
    changed(port, {
      write32: (address, value) => {
        log.push(`${hex(address - AMDVI_BASE)}=${hex(value)}`)
        port.write32(address, value)
      },
      store128: (mfn, index, hi0, lo0, hi1, lo1) => {
        log.push(
          `entry ${index & ~3} ${(index & 2) === 0 ? 'lower' : 'upper'} ${hex(hi0)}:${hex(lo0)} ${hex(hi1)}:${hex(lo1)}`,
        )
        port.store128(mfn, index, hi0, lo0, hi1, lo1)
      },
      storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
        log.push(`command ${hex(lo0)} ${hex(hi0)} ${hex(lo1)} ${hex(hi1)}`)
        port.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1)
      },
    })
  const rig = new DriverRig(amdviUnit(personality), { wrap })
  return {
    rig,
    taken: () => log.splice(0),
  }
}

describe('initialisation (B.7: early_enable_iommu)', () => {
  test('off, device table, command buffer and its enable, event log and its enable, IommuEn, INVALIDATE_IOMMU_ALL, COMPLETION_WAIT [amdvi.driver.initialise]', () => {
    const { rig, taken } = recorded()
    expect(rig.driver.enable()).toBe(0)
    const steps = taken().filter((step) => !step.startsWith('entry'))
    const [table, commands, events] = ['0', '8', '10'].map((offset) =>
      Number.parseInt(steps.find((step) => step.startsWith(`${offset}=`))!.split('=')[1]!, 16),
    )
    expect(steps).toEqual([
      '18=0',
      '1c=0',
      '20=0',
      '24=0',
      '28=0',
      '2c=0',
      '2020=7',
      `0=${hex(table!)}`,
      '4=0',
      `8=${hex(commands!)}`,
      'c=8000000',
      '18=1400',
      '1c=0',
      `10=${hex(events!)}`,
      '14=8000000',
      '18=1404',
      '1c=0',
      '18=1405',
      '1c=0',
      'command 0 80000000 0 0',
      expect.stringMatching(/^command [0-9a-f]+5 10000000 1 0$/),
      '2008=20',
    ])
    // Four buses: 1024 entries of 32 bytes are 8 pages.
    expect(table! & 0xfff).toBe(7)
  })

  test('before the unit is on, every entry is valid and blocks: V = TV = 1, IR = IW = 0, IV = 1, IntCtl = 0; upper half first [amdvi.driver.prefill]', () => {
    const { rig, taken } = recorded()
    rig.driver.enable()
    const entries = taken().filter((step) => step.startsWith('entry'))
    expect(entries).toHaveLength(2 * 1024)
    entries.forEach((step, i) =>
      expect(step).toBe(
        i % 2 === 0 ? `entry ${((i >> 1) % 128) << 2} upper 0:1 0:0` : `entry ${((i >> 1) % 128) << 2} lower 0:3 0:0`,
      ),
    )
  })

  test('without IASup: every entry, interrupt table and domain one by one [amdvi.driver.without-invalidate-all]', () => {
    const { hats4 } = amdviPersonalities
    const { rig, taken } = recorded({
      ...hats4,
      featuresLow: hats4.featuresLow & ~0x40,
      features: { ...hats4.features, invalidateAll: false },
    })
    expect(rig.driver.enable()).toBe(0)
    const commands = taken().filter((step) => step.startsWith('command') && !step.includes(' 10000000 '))
    expect(commands.slice(0, 4)).toEqual([
      'command 0 20000000 0 0',
      'command 0 50000000 0 0',
      'command 1 20000000 0 0',
      'command 1 50000000 0 0',
    ])
    expect(commands.slice(2048, 2051)).toEqual([
      'command 0 30000000 fffff003 7fffffff',
      'command 0 30000001 fffff003 7fffffff',
      'command 0 30000002 fffff003 7fffffff',
    ])
    expect(commands).toHaveLength(2048 + 65536)
  })

  test('it takes a unit over that firmware left on [amdvi.driver.take-over]', () => {
    const rig = new DriverRig(unit)
    rig.machine.mmio.write64(AMDVI_BASE, 0x200000n)
    rig.machine.mmio.write64(AMDVI_BASE + 8, 0x0800000000201000n)
    rig.machine.mmio.write64(AMDVI_BASE + 0x18, 0x1405n)
    const { device, table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    expect([device.put(0x5000, 1n), device.put(0x6000, 1n)]).toEqual([2, -1])
  })
})

describe('device table entries (B.7)', () => {
  test('attach: the lower 16 bytes in one store, the upper stay as they are, INVALIDATE_DEVTAB_ENTRY, wait [amdvi.driver.entry-order]', () => {
    const { rig, taken } = recorded()
    rig.driver.enable()
    const table = rig.driver.createTable(48)
    taken()
    rig.driver.attach(8, table)
    // V, TV, Mode 4, IR, IW, domain; IV = 1, IntCtl 0 as before.
    expect(taken()).toEqual([
      expect.stringMatching(/^entry 32 lower 60000000:[0-9a-f]+803 0:1$/),
      'command 8 20000000 0 0',
      expect.stringMatching(/^command [0-9a-f]+5 10000000 2 0$/),
      '2008=40',
    ])
  })

  test('attach to another table, block: the old domain is invalidated too, after the entry [amdvi.driver.entry-order]', () => {
    const { rig, taken } = recorded()
    rig.driver.enable()
    const tables = [rig.driver.createTable(64), rig.driver.createTable(39)]
    rig.driver.attach(8, tables[0]!)
    taken()
    rig.driver.attach(8, tables[1]!)
    expect(taken().slice(0, 3)).toEqual([
      expect.stringMatching(/^entry 32 lower 60000000:[0-9a-f]+603 0:2$/),
      'command 8 20000000 0 0',
      'command 0 30000001 fffff003 7fffffff',
    ])
    rig.driver.block(8)
    expect(taken().slice(0, 4)).toEqual([
      'entry 32 lower 0:3 0:0',
      'entry 32 upper 0:1 0:0',
      'command 8 20000000 0 0',
      'command 0 30000002 fffff003 7fffffff',
    ])
  })

  test('a requester beyond the table cannot be attached [amdvi.driver.blocks]', () => {
    const rig = new DriverRig(unit)
    rig.driver.enable()
    expect(rig.driver.attach(0x400, rig.driver.createTable(48))).toBe(-4)
    expect(rig.driver.block(0x400)).toBe(0)
  })
})

describe('invalidations [amdvi.driver.invalidate]', () => {
  const invalidated = (ranges: [number, number][]) => {
    const { rig, taken } = recorded()
    const { table } = rig.start(48)
    taken()
    for (const [first, pages] of ranges) rig.driver.queueInvalidation(table, 0, first * 4096, pages)
    rig.driver.completeInvalidations()
    return taken().filter((step) => step.includes(' 3000'))
  }

  test('one page: S = 0, PDE = 0', () => expect(invalidated([[5, 1]])).toEqual(['command 0 30000001 5000 0']))
  test('neighbours become one command', () =>
    expect(
      invalidated([
        [4, 2],
        [6, 1],
        [7, 1],
      ]),
    ).toEqual(['command 0 30000001 5001 0']))
  test('a misaligned range: two blocks of at most twice its size', () =>
    expect(invalidated([[3, 3]])).toEqual(['command 0 30000001 3000 0', 'command 0 30000001 4001 0']))
  test('1 GiB', () => expect(invalidated([[0, 2 ** 18]])).toEqual(['command 0 30000001 1ffff001 0']))
  test('64 GiB: the size reaches into the upper word', () =>
    expect(invalidated([[0, 2 ** 24]])).toEqual(['command 0 30000001 fffff001 7']))

  test('after a directory went, with PDE', () => {
    const { rig, taken } = recorded()
    const { table } = rig.start(48)
    rig.map(table, 0x200000, DATA, 512, 3, true)
    taken()
    rig.unmap(table, 0x200000, 512)
    rig.map(table, 0x5000, DATA, 1)
    rig.unmap(table, 0x5000, 1)
    expect(taken().filter((step) => step.includes(' 3000'))).toEqual([
      'command 0 30000001 2ff003 0',
      'command 0 30000001 5000 0',
    ])
  })

  test('a unit with NpCache says so; hypervisors then announce new mappings (B.7) [amdvi.driver.announce]', () => {
    const absent = { ...amdviPersonalities.hats6, npCache: true, cachesAbsent: true }
    const rig = new DriverRig(amdviUnit(absent))
    const { device, table } = rig.start()
    expect([rig.driver.capabilities.invalidateOnMap, device.get(0x5000)]).toEqual([true, -1n])
    rig.map(table, 0x5000, DATA, 1)
    expect(device.get(0x5000)).toBe(-1n)
    rig.driver.queueInvalidation(table, 0, 0x5000, 1)
    rig.driver.completeInvalidations()
    expect(device.get(0x5000)).toBe(0n)
  })
})

describe('what each step is for: a port that skips it is not safe [amdvi.driver.steps]', () => {
  test('without waiting for the COMPLETION_WAIT: the device still reaches the frame', () => {
    let status = -1
    let answer = 0
    const impatient = (port: DriverPort) =>
      changed(port, {
        storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
          if (hi0 >>> 28 === 1) [status, answer] = [lo0 >>> 12, lo1]
          port.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1)
        },
        loadLow: (mfn, index) => (mfn === status && index === 0 ? answer : port.loadLow(mfn, index)),
      })
    expect(secondOwner(unit, impatient)).toEqual({ mapped: 2, late: 2, data: 0x600dn })
  })

  test('without a COMPLETION_WAIT at all, after time enough: a write that was on its way lands in the second owner’s data', () => {
    // The wait becomes a prefetch hint, and the driver is told what it wants to hear after a while.
    let status = -1
    let answer = 0
    let polls = 0
    const undrained = (port: DriverPort) =>
      changed(port, {
        storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
          const wait = hi0 >>> 28 === 1
          if (wait) [status, answer, polls] = [lo0 >>> 12, lo1, 0]
          port.storeCoherent128(mfn, index, wait ? 0x60000000 : hi0, wait ? 0 : lo0, wait ? 0 : hi1, wait ? 0 : lo1)
        },
        loadLow: (mfn, index) => (mfn !== status || index !== 0 ? port.loadLow(mfn, index) : polls++ < 1 ? 0 : answer),
      })
    expect(secondOwner(unit, undrained)).toEqual({ mapped: 2, late: -1, data: 0xbadn })
  })

  test('without the invalidation of the page: the device still reaches the frame', () => {
    const another = (port: DriverPort) =>
      changed(port, {
        storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) =>
          port.storeCoherent128(mfn, index, hi0, lo0, hi1, hi0 >>> 28 === 3 ? lo1 + 0x100000 : lo1),
      })
    expect(secondOwner(unit, another)).toMatchObject({ mapped: 2, late: 2 })
  })

  test('without Control.Coherent: the unit does not see what is not written back [amdvi.register.coherent]', () => {
    const uncoherent = (port: DriverPort) =>
      changed(port, {
        write32: (address, value) => port.write32(address, address === AMDVI_BASE + 0x18 ? value & ~0x400 : value),
        flushLine: () => {},
        publish64: (mfn, index, hi, lo) => port.store64(mfn, index, hi, lo),
      })
    expect(secondOwner(unit, uncoherent)).toMatchObject({ mapped: -1 })
  })
})
