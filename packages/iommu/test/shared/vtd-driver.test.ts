import { describe } from 'vitest'
import { vtdPersonalities } from '../../src/hardware.ts'
import { driverFaultySuite } from './driver-faulty-suite.ts'
import { driverOrderSuite } from './driver-order-suite.ts'
import { driverPagesSuite } from './driver-pages-suite.ts'
import { driverPropertySuite } from './driver-property-suite.ts'
import { driverSuite } from './driver-suite.ts'
import { vtdUnit } from './units.ts'

/** The suites that drivers share, on VT-d; what is its own is in test/vtd. */
describe.each([vtdUnit(vtdPersonalities['sandybridge-ep']), vtdUnit(vtdPersonalities.qemu48)])('$name', (unit) => {
  driverSuite(unit)
  // Queue, status, root, interrupt remapping table; context table.
  driverPagesSuite(unit, 5, 4)
  driverOrderSuite(unit)
  driverFaultySuite(unit)
  driverPropertySuite(unit, 5)
})
