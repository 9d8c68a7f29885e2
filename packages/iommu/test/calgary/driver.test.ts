import { describe } from 'vitest'
import { calgaryPersonalities } from '../../src/hardware.ts'
import { driverFaultySuite } from '../shared/driver-faulty-suite.ts'
import { driverOrderSuite } from '../shared/driver-order-suite.ts'
import { driverPropertySuite } from '../shared/driver-property-suite.ts'
import { driverSuite } from '../shared/driver-suite.ts'
import { calgaryUnit } from '../shared/units.ts'

/** The suites that drivers share; those of radix tables have nothing to do with flat ones. */
describe.each(Object.values(calgaryPersonalities).map((personality) => calgaryUnit(personality)))('$name', (unit) => {
  driverSuite(unit)
  driverOrderSuite(unit)
  driverFaultySuite(unit)
  // The empty table of 64 KiB.
  driverPropertySuite(unit, 16)
})

const tiny = { ...calgaryPersonalities.calgary, cache: { sets: 4, ways: 1, replacement: 'random' as const } }
describe('a small cache', () => driverPropertySuite(calgaryUnit(tiny), 16))
