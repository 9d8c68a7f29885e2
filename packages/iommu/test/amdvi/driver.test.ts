import { describe } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { driverFaultySuite } from '../shared/driver-faulty-suite.ts'
import { driverOrderSuite } from '../shared/driver-order-suite.ts'
import { driverPagesSuite } from '../shared/driver-pages-suite.ts'
import { driverPropertySuite } from '../shared/driver-property-suite.ts'
import { driverSuite } from '../shared/driver-suite.ts'
import type { AmdviTranslator } from '../../src/amdvi/hardware/translator.ts'
import type { UnitUnderTest } from '../shared/driver-rig.ts'
import { amdviUnit } from '../shared/units.ts'

describe.each(Object.values(amdviPersonalities).map((personality) => amdviUnit(personality)))(
  '$name [amdvi.driver.conformance]',
  (unit) => driverSuite(unit),
)

const { hats4, hats6, qemu } = amdviPersonalities
const tiny = { sets: 4, ways: 2 }
const small = {
  ...hats6,
  iotlb: tiny,
  iotlb2M: { sets: 4, ways: 1 },
  iotlb1G: { sets: 4, ways: 1 },
  directories: { sets: 4, ways: 1 },
  devices: { sets: 1, ways: 1 },
}

// Commands, status, events.
describe('pages [amdvi.driver.conformance, amdvi.driver.pages]', () => driverPagesSuite(amdviUnit(hats6), 3))
describe.each([amdviUnit(hats4), amdviUnit(hats6)])(
  'no valid address ever faults, $name [amdvi.driver.conformance, amdvi.driver.pages]',
  (unit) => driverOrderSuite(unit),
)
describe.each([amdviUnit(hats6), amdviUnit(qemu)])(
  'a faulty unit, $name [amdvi.driver.conformance, amdvi.driver.stuck]',
  (unit) => driverFaultySuite(unit),
)
// The device table of 4 buses too.
describe('small caches [amdvi.driver.conformance]', () => driverPropertySuite(amdviUnit(small), 3 + 8))

/** The unit, with a detector that ends the test when a device uses what memory no longer grants. */
function watched(unit: UnitUnderTest): UnitUnderTest {
  return {
    ...unit,
    install(machine) {
      const installed = unit.install(machine)
      const translator = machine.pci.translator as AmdviTranslator
      translator.onStaleHit = ({ hi, lo }) => {
        throw new Error(`stale: 0x${((hi >>> 0) * 2 ** 32 + (lo >>> 0)).toString(16)}`)
      }
      return installed
    },
  }
}

describe('small caches, watched for stale hits [amdvi.driver.conformance, amdvi.stale-hit]', () =>
  driverPropertySuite(watched(amdviUnit(small)), 3 + 8))
