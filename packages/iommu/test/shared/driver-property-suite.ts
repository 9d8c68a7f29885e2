/** Driver and unit against a map of pages: after every completed call each access does what the map says. */
import { expect, test } from 'vitest'
import { DriverStatus } from '../../src/driver.ts'
import { fc, runs } from '../property.ts'
import { DATA, DriverRig, type UnitUnderTest } from './driver-rig.ts'

const M2 = 512
// Pages around borders of every level, so that runs meet them.
const first = fc
  .tuple(fc.constantFrom(0, M2, 3 * M2, 2 ** 18, 2 ** 27), fc.integer({ min: -4, max: 4 }))
  .map(([base, off]) => Math.max(0, base + off))
const count = fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constantFrom(508, 512, 513, 1024, 1030))
const operation = fc.oneof(
  fc.record({
    kind: fc.constant('map' as const),
    table: fc.nat(1),
    page: first,
    count,
    frame: fc.constantFrom(DATA, 512, 513, 1000),
    access: fc.integer({ min: 1, max: 3 }),
    exact: fc.boolean(),
  }),
  // The frames that large pages have, so that pieces can become one again.
  fc.record({ kind: fc.constant('fill' as const), table: fc.nat(1), page: first, count }),
  fc.record({ kind: fc.constant('unmap' as const), table: fc.nat(1), page: first, count }),
  fc.record({
    kind: fc.constant('dma' as const),
    device: fc.nat(1),
    page: first,
    write: fc.boolean(),
    offset: fc.nat(4088),
  }),
  fc.record({ kind: fc.constant('attach' as const), device: fc.nat(1), table: fc.nat(2) }),
  fc.record({ kind: fc.constant('reclaim' as const), table: fc.nat(1) }),
)

/** Tables have 48 bits, or as many as the unit has. `left`: pages that the driver may hold in the end. */
export function driverPropertySuite(unit: UnitUnderTest, left: number): void {
  const property = fc.property(fc.array(operation, { minLength: 10, maxLength: 60 }), (operations) => {
    const rig = new DriverRig(unit)
    rig.driver.enable()
    const bits = Math.min(48, rig.bits)
    const end = rig.end(bits) / 4096
    const tables = (unit.open ? [0] : [0, 1]).map(() => ({
      id: rig.driver.createTable(bits),
      pages: new Map<number, { mfn: number; access: number }>(),
    }))
    const devices = [rig.device(8), rig.other()]
    const attached: (number | null)[] = [null, null]
    // Whoever cannot be kept out is in from the start.
    if (unit.open)
      devices.forEach(({ requester }, i) => {
        expect(rig.driver.attach(requester, tables[0]!.id)).toBe(0)
        attached[i] = 0
      })
    const tableOf = (index: number) => tables[index % tables.length]!
    let stamp = 1n
    const check = (device: number, page: number, write: boolean, offset: number) => {
      const table = attached[device]
      const entry = table === null ? undefined : tables[table!]!.pages.get(page)
      const allowed = entry !== undefined && (entry.access & (write ? 2 : 1)) !== 0
      const address = page * 4096 + (offset & ~7)
      if (!allowed) {
        expect(write ? devices[device]!.put(address, 0n) : Number(devices[device]!.get(address))).toBe(-1)
        return
      }
      const there = entry.mfn * 4096 + (offset & ~7)
      if (write) {
        expect(devices[device]!.put(address, ++stamp)).toBe(2)
        expect(rig.load(there)).toBe(stamp)
      } else expect(devices[device]!.get(address)).toBe(rig.load(there))
    }
    for (const op of operations) {
      if (op.kind === 'dma') {
        if (!unit.open || op.page < end) check(op.device, op.page, op.write, op.offset)
      } else if (op.kind === 'reclaim') expect(rig.driver.reclaim(tableOf(op.table).id)).toBeGreaterThanOrEqual(0)
      else if (op.kind === 'attach') {
        if (unit.open) continue
        const { requester } = devices[op.device]!
        expect(op.table === 2 ? rig.driver.block(requester) : rig.driver.attach(requester, tables[op.table]!.id)).toBe(
          0,
        )
        attached[op.device] = op.table === 2 ? null : op.table
      } else {
        const { id, pages } = tableOf(op.table)
        if (op.page + op.count >= end) continue
        const range = Array.from({ length: op.count }, (_, i) => op.page + i)
        const free = range.every((page) => !pages.has(page))
        const frame = op.kind === 'map' ? op.frame : DATA + (op.page % M2)
        if (op.kind === 'unmap') {
          expect(rig.unmap(id, op.page * 4096, op.count)).toBe(0)
          range.forEach((page) => pages.delete(page))
        } else if (free) {
          const { readOnly, writeOnly } = rig.driver.capabilities
          const access =
            op.kind !== 'map' || (op.access === 1 && !readOnly) || (op.access === 2 && !writeOnly) ? 3 : op.access
          expect(rig.map(id, op.page * 4096, frame, op.count, access, op.kind === 'map' && op.exact)).toBe(0)
          range.forEach((page, i) => pages.set(page, { mfn: frame + i, access }))
        }
        // Both ends and the middle, from both devices.
        for (const page of [op.page, op.page + op.count - 1, op.page + (op.count >> 1), op.page + op.count])
          [0, 1].forEach((device) => check(device, page, page % 2 === 0, 8))
      }
    }
    for (const { id, pages } of tables) {
      for (const [page, { mfn, access }] of pages) {
        if (rig.frameOf(id, page * 4096) !== mfn || rig.accessOf(id, page * 4096) !== access)
          throw new Error(`frameOf says page ${page} leads elsewhere`)
      }
    }
    const blocked = unit.open ? DriverStatus.unsupported : DriverStatus.ok
    devices.forEach((device) => expect(rig.driver.block(device.requester)).toBe(blocked))
    tables.forEach(({ id }) => expect(rig.driver.destroyTable(id)).toBe(0))
    expect(rig.held.size).toBeLessThanOrEqual(left)
  })

  test('driver and unit against a map of pages', () => fc.assert(property, runs(40)), 120_000)
}
