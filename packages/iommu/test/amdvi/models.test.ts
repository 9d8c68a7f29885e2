import { describe, expect, test } from 'vitest'
import { AmdviDriver, MachinePort } from '../../src/driver.ts'
import { AMDVI_BASE, amdviPersonalities, installAmdvi, iommuModels } from '../../src/hardware.ts'
import { Machine } from '@iospace/machine'
import { DriverRig } from '../shared/driver-rig.ts'
import { at } from '../shared/driver-suite.ts'
import { amdviUnit } from '../shared/units.ts'
import { turn } from './board.ts'

const unit = amdviUnit(amdviPersonalities.hats6)

describe('the models of a machine', () => {
  test('install and driver by name; the device table covers the buses that there are [amdvi.driver.blocks]', () => {
    const machine = new Machine({ memory: { lowFrames: 1024, highFrames: 0, boardBytes: 1 << 16 }, seed: 1, turn })
    for (const [name, { personalities, defaultPersonality }] of Object.entries(iommuModels))
      expect([name, personalities.includes(defaultPersonality)]).toEqual([name, true])
    const model = iommuModels['amdvi']!
    expect(model.personalities).toEqual(['qemu', 'hats4', 'hats5', 'hats6'])
    expect(() => model.driver(machine, { allocatePage: () => -1, freePage: () => {} })).toThrow(
      'is not in this machine',
    )
    model.install(machine, 'qemu')
    machine.pci.addBridge(0, 8, 'root-port')
    const orders: number[] = []
    const driver = model.driver(machine, {
      allocatePage: () => -1,
      freePage: () => {},
      allocateRun: (order) => {
        orders.push(order)
        return -1
      },
    })
    expect([driver.enable(), orders, driver.capabilities.invalidateOnMap]).toEqual([-1, [1], true])
  })

  test('without a run of frames enable is noMemory', () => {
    const machine = new Machine({ memory: { lowFrames: 1024, highFrames: 0, boardBytes: 1 << 16 }, seed: 1, turn })
    installAmdvi(machine, amdviPersonalities.hats6)
    const port = new MachinePort(machine, { coherent: true, allocatePage: () => 5, freePage: () => {} })
    expect(new AmdviDriver(port, { base: AMDVI_BASE }).enable()).toBe(-1)
  })
})

test('capabilities as data [amdvi.driver.capabilities]', () => {
  const of = (name: keyof typeof amdviPersonalities) =>
    new DriverRig(amdviUnit(amdviPersonalities[name])).driver.capabilities
  expect([of('hats4').tableWidths, of('hats5').tableWidths, of('hats6').tableWidths, of('qemu').tableWidths]).toEqual([
    [39, 48],
    [39, 48, 57],
    [39, 48, 57, 64],
    [39, 48, 57, 64],
  ])
  expect(of('hats6')).toMatchObject({
    kind: 'amdvi',
    pageSizes: 0x40201000,
    addressBits: 64,
    granularity: 'function',
    readOnly: true,
    writeOnly: true,
    faultRecords: true,
    coherent: true,
    invalidateOnMap: false,
    dirtyBits: true,
    tables: 65535,
    interruptIsolation: true,
    faultInterrupt: true,
    // HyperTransport's interrupt range is never translated.
    untranslated: [[0xfdf8000000, 0xfdf9000000]],
  })
  expect([of('hats4').dirtyBits, of('hats5').dirtyBits, of('qemu').invalidateOnMap]).toEqual([false, false, true])
})

test('the memory that was the device table lets everything pass once it is freed and zeroed: it is not, while the unit is on [amdvi.driver.blocks]', () => {
  const rig = new DriverRig(unit)
  const { device } = rig.start()
  for (const mfn of rig.driver.ownFrames()) expect(device.put(at(mfn), 1n)).toBe(-1)
})
