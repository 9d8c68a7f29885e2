import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DEVICE_STATE,
  DESTROY_SPACE_FLAGS,
  DOMID,
  EVTCHNOP,
  Errno,
  GNTMAP,
  GTF,
  IOMMU_FLAG,
  IOMMU_OP,
  LIMIT_PERMISSION,
  MAP_ELEMENT_FLAGS,
  MAP_PIRQ_TYPE,
  PHYSDEVOP,
  SPACE_NONE,
  XENMEM,
  XEN_DOMCTL,
  XEN_DOMCTL_CDF,
  domctl_createdomain,
  domctl_max_mem,
  evtchn_bind_pirq,
  iommu_attach_device,
  iommu_create_space,
  iommu_destroy_space,
  iommu_detach_device,
  iommu_flush,
  iommu_query,
  iommu_query_device,
  iommu_set_default,
  physdev_map_pirq,
  xen_domctl,
  xen_memory_exchange,
  xen_memory_reservation,
} from '@iospace/abi'
import type { IommuDriver } from '@iospace/iommu/driver'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, assignment, deviceOf, domctl, give, iommuOp, populate, resetDevice, setLimits } from './builder.ts'
import { entryFlags, grant, mapRef, slotAddress, unmapRef } from './grants.ts'
import { mapGrants, mapList, page, unmapGrants, unmapList } from './lists.ts'
import { Guest, type Rig, rig, TestDevice } from './rig.ts'

const AT = 0x10_0000n
const { ANY, FOLLOWS } = MAP_ELEMENT_FLAGS

/** A driver over the real one in which the `nth` call of one of `methods` fails with `status`, with or without its effect. */
function failing(
  driver: IommuDriver,
  methods: readonly (keyof IommuDriver)[],
  status: () => number,
  nth: { left: number },
  effect = false,
): IommuDriver {
  return new Proxy(driver, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (!methods.includes(name as keyof IommuDriver)) return (value as (...a: unknown[]) => unknown).bind(target)
      const call = value as (...a: unknown[]) => unknown
      return (...a: unknown[]) => {
        const fails = nth.left > 0 && --nth.left === 0
        if (!fails || effect) {
          const result = call.apply(target, a)
          if (!fails) return result
        }
        return status()
      }
    },
  })
}

/** Exchanges pages for as many that lie side by side in the machine. */
function exchange(guest: Guest, pfns: readonly number[]) {
  guest.putU64(pfns.map((pfn) => guest.mfn(pfn)))
  const reservation = { ...xen_memory_reservation.zero(), domid: DOMID.SELF, extent_start: BigInt(guest.list) }
  return guest.op('memory_op', XENMEM.exchange, xen_memory_exchange, {
    in: { ...reservation, nr_extents: BigInt(pfns.length) },
    out: { ...reservation, nr_extents: 1n, extent_order: Math.log2(pfns.length) },
  })
}

/** Uses everything, expects nothing to succeed, and then undoes what it can. */
function everything(r: Rig): void {
  const { dom0 } = r
  const made = domctl(dom0, XEN_DOMCTL.createdomain, 0, domctl_createdomain, {
    flags: XEN_DOMCTL_CDF.iommu,
    max_vcpus: 1,
    max_grant_frames: -1,
    max_maptrack_frames: -1,
  })
  if (made.rc !== 0) return
  const domid = made.out.domain
  domctl(dom0, XEN_DOMCTL.max_mem, domid, domctl_max_mem, { max_memkb: 256n })
  populate(
    dom0,
    domid,
    Array.from({ length: 63 }, (_, i) => i + 1),
  )
  domctl(dom0, XEN_DOMCTL.unpausedomain, domid, xen_domctl)
  const guest = new Guest(r.booted.get(domid)!)
  if (guest.view.memory.frameOffset(8) < 0) return void domctl(dom0, XEN_DOMCTL.destroydomain, domid, xen_domctl)
  const { sbdf } = deviceOf(r, 0)
  const permissions = LIMIT_PERMISSION.UNSAFE_PASSTHROUGH | LIMIT_PERMISSION.UNSAFE_INTERRUPTS
  setLimits(dom0, domid, { spaces: 4, pinned: 1000, tablePages: 5000, deferred: 50, permissions })
  resetDevice(dom0, sbdf)
  assignment(dom0, XEN_DOMCTL.assign_device, domid, sbdf)
  const { rc, out } = guest.op('physdev_op', PHYSDEVOP.map_pirq, physdev_map_pirq, {
    domid: DOMID.SELF,
    type: MAP_PIRQ_TYPE.MSI_SEG,
    index: -1,
    pirq: -1,
    bus: sbdf >> 8,
    devfn: sbdf & 0xff,
  })
  if (rc === 0) guest.op('event_channel_op', EVTCHNOP.bind_pirq, evtchn_bind_pirq, { pirq: out.pirq })
  try {
    grant(dom0, 8, domid, 30)
    grant(dom0, 9, domid, 31)
    const host = mapRef(guest, { host_addr: slotAddress(guest, 0), flags: GNTMAP.host_map, ref: 8, dom: 0 })
    if (host.status === 0) unmapRef(guest, { host_addr: slotAddress(guest, 0), handle: host.handle })
    guest.putU64([guest.mfn(50)])
    guest.op('memory_op', XENMEM.decrease_reservation, xen_memory_reservation, {
      extent_start: BigInt(guest.list),
      nr_extents: 1n,
      domid: DOMID.SELF,
    })
    populate(dom0, domid, [50])
    exchange(guest, [40, 41])
    iommuOp(guest, IOMMU_OP.set_default, iommu_set_default, { kind: DEFAULT_KIND.EMPTY })
    const { space } = iommuOp(guest, IOMMU_OP.create_space, iommu_create_space, {
      device_count: 1,
      devices: [sbdf, ...Array<number>(15).fill(0)],
    }).out
    for (const id of [0, space]) {
      iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device: sbdf, space: id })
      mapList(guest, id, [
        page(guest, 10, { flags: ANY }),
        page(guest, 11, { flags: FOLLOWS }),
        page(guest, 12, { io_address: 2n ** 34n }),
      ])
      mapList(guest, id, [page(guest, 13, { io_address: 2n ** 35n }), page(guest, 14, { io_address: 2n ** 36n })], {
        flags: IOMMU_FLAG.ALL_OR_NOTHING,
      })
      mapGrants(
        guest,
        id,
        [8, 9].map((ref) => ({ domid: 0, ref, access: 3, flags: ANY })),
        { flags: IOMMU_FLAG.CONTINUE },
      )
      const device = mapRef(guest, { flags: GNTMAP.device_map, ref: 9, dom: 0 })
      if (device.status === 0) unmapRef(guest, { dev_bus_addr: device.dev_bus_addr, handle: device.handle })
      unmapList(guest, id, [{ io_address: 2n ** 34n, pages: 1n }], { flags: IOMMU_FLAG.NO_FLUSH })
      unmapList(guest, id, [{ io_address: 2n ** 35n, pages: 1n }])
      iommuOp(guest, IOMMU_OP.flush, iommu_flush, { space: id, flags: IOMMU_FLAG.ALL })
    }
    iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device: sbdf })
    iommuOp(guest, IOMMU_OP.destroy_space, iommu_destroy_space, { space, flags: DESTROY_SPACE_FLAGS.DETACH })
  } finally {
    domctl(dom0, XEN_DOMCTL.destroydomain, domid, xen_domctl)
  }
}

/** What must be left when everything is over: nothing. */
function expectNothingLeft(
  r: Rig,
  before: { freeFrames: number; hypervisorFrames: number; domains: readonly { tablePages: number }[] },
  what: string,
): void {
  // A reset lets a unit that failed settle; what waited for it goes then.
  for (const index of [0, 1]) resetDevice(r.dom0, deviceOf(r, index).sbdf)
  const after = r.hypervisor.snapshot()
  expect([what, after.references, after.domains.map(({ domid }) => domid)]).toEqual([what, 0, [0]])
  expect([what, after.mappings.made, after.mappings.pagesMade]).toEqual([
    what,
    after.mappings.ended,
    after.mappings.pagesEnded,
  ])
  expect([what, after.grantMaps.made]).toEqual([what, after.grantMaps.ended])
  expect([what, [8, 9].map((ref) => entryFlags(r.dom0, ref))]).toEqual([what, [GTF.permit_access, GTF.permit_access]])
  expect([what, after.freeFrames - before.freeFrames]).toEqual([what, before.hypervisorFrames - after.hypervisorFrames])
  expect([what, after.domains[0]!.pinned, after.domains[0]!.stuck]).toEqual([what, 0, 0])
}

function prepare(options: Parameters<typeof rig>[0] = {}) {
  const r = rig({ lowFrames: 512, highFrames: 512, dom0Pages: 128, ...options })
  grant(r.dom0, 8, 5, 30)
  grant(r.dom0, 9, 5, 31)
  return { r, before: r.hypervisor.snapshot() }
}

test('the whole of it without a failure leaves nothing', () => {
  const { r, before } = prepare()
  everything(r)
  expectNothingLeft(r, before, 'no failure')
})

test('each allocation of a hypervisor frame fails in turn, and every error path restores the counters (style 8)', () => {
  for (let nth = 1; ; nth++) {
    const { r, before } = prepare()
    let left = nth
    r.hypervisor.failpoint = () => --left === 0
    everything(r)
    r.hypervisor.failpoint = null
    expectNothingLeft(r, before, `allocation ${nth}`)
    if (left > 0) return expect(nth).toBeGreaterThan(20)
  }
}, 60_000)

const FAILURES: readonly (readonly [string, readonly (keyof IommuDriver)[], number, boolean?])[] = [
  ['a command that is not answered', ['completeInvalidations'], -2],
  ['a block that is not answered', ['block'], -2, true],
  ['a block that did not happen', ['block'], -2],
  ['an attach that is not answered', ['attach'], -2, true],
  ['an attach that did not happen', ['attach'], -2],
  ['a context table that there is no memory for', ['attach'], -1],
  ['a table that there is no memory for', ['createTable'], -1],
  ['no table tag', ['createTable'], -3],
  ['a mapping that there is no table page for', ['map'], -1],
  ['a mapping that the unit cannot express', ['map'], -4],
  ['a mapping whose visibility the unit does not confirm', ['map'], -2],
  ['an unmap that would need a table page', ['unmap'], -1],
  ['an interrupt entry that is not confirmed', ['mapInterrupt'], -2, true],
  ['an interrupt entry that there is no room for', ['mapInterrupt'], -3],
  ['an interrupt entry whose end is not confirmed', ['unmapInterrupt'], -2, true],
  ['a destroyed table whose invalidation is not answered', ['destroyTable'], -2],
]

test.each([
  ['calgary', 8192, ['completeInvalidations', 'attach', 'block', 'destroyTable']],
  ['gart', 512, ['completeInvalidations', 'destroyTable']],
] as const)(
  'a %s that does not answer, at each place in turn: the same',
  (iommu, lowFrames, methods) => {
    for (const method of methods) {
      for (let nth = 1; ; nth++) {
        const counter = { left: 0 }
        const { r, before } = prepare({
          iommu,
          lowFrames,
          highFrames: 0,
          wrap: (driver) => failing(driver, [method], () => -2, counter, method !== 'destroyTable'),
        })
        counter.left = nth
        everything(r)
        const reached = counter.left === 0
        counter.left = 0
        expectNothingLeft(r, before, `${method} ${nth}`)
        if (!reached) {
          expect([method, nth > 1]).toEqual([method, true])
          break
        }
      }
    }
  },
  60_000,
)

for (const [what, methods, status, effect] of FAILURES) {
  test(`${what}, at each place in turn: nothing is let go too early, and nothing is left in the end (I4, I11)`, () => {
    let places = 0
    for (let nth = 1; ; nth++) {
      const counter = { left: 0 }
      const { r, before } = prepare({ wrap: (driver) => failing(driver, methods, () => status, counter, effect) })
      counter.left = nth
      everything(r)
      const reached = counter.left === 0
      counter.left = 0
      expectNothingLeft(r, before, `${what} ${nth}`)
      if (!reached) break
      places++
    }
    expect(places).toBeGreaterThan(0)
  }, 60_000)
}

test.each([
  ['there is no memory for', -1, -Errno.ENOMEM, DEVICE_STATE.ATTACHED],
  ['is not answered', -2, -Errno.EIO, DEVICE_STATE.FENCED],
])(
  'set_default whose second attach %s: the first device is in the mirror again, and the space is gone',
  (_what, status, rc, second) => {
    const counter = { left: 0 }
    const r = rig({ wrap: (driver) => failing(driver, ['attach'], () => status, counter) })
    const guest = addGuest(r)
    give(r, guest, 0, {})
    give(r, guest, 1, {})
    const before = r.hypervisor.snapshot()
    const use = () => r.hypervisor.snapshot().domains.find(({ domid }) => domid === guest.domid)!.tablePages
    const pages = use()
    counter.left = 2
    expect(iommuOp(guest, IOMMU_OP.set_default, iommu_set_default, { kind: DEFAULT_KIND.EMPTY }).rc).toBe(rc)
    const state = (index: number) =>
      iommuOp(guest, IOMMU_OP.query_device, iommu_query_device, { device: deviceOf(r, index).sbdf }).out
    expect(state(0).space).toBe(0)
    expect([state(1).state, state(1).space]).toEqual([second, status === -1 ? 0 : SPACE_NONE])
    for (const index of [0, 1]) {
      expect(resetDevice(r.dom0, deviceOf(r, index).sbdf)).toBe(0)
      guest.view.configWrite(deviceOf(r, index).sbdf, 4, 2, 6)
    }
    expect(deviceOf(r, 0).device.read(guest.mfn(9) * 4096)).toBe(0)
    expect(deviceOf(r, 1).device.read(guest.mfn(9) * 4096)).toBe(status === -1 ? 0 : DmaOutcome.blocked)
    expect([use(), r.hypervisor.snapshot().freeFrames]).toEqual([pages, before.freeFrames])
    // It is still to be had.
    expect(iommuOp(guest, IOMMU_OP.set_default, iommu_set_default, { kind: DEFAULT_KIND.EMPTY }).rc).toBe(0)
    expect(deviceOf(r, 0).device.read(guest.mfn(9) * 4096)).toBe(DmaOutcome.blocked)
  },
)

test('attach and detach wait for what is deferred: a unit that does not answer leaves the device where it is', () => {
  const counter = { left: 0 }
  const r = rig({ wrap: (driver) => failing(driver, ['completeInvalidations'], () => -2, counter) })
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY, deferred: 10 })
  const { sbdf } = deviceOf(r, 0)
  for (const op of ['attach', 'detach'] as const) {
    mapList(guest, 0, [page(guest, 10, { io_address: AT })])
    expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }], { flags: IOMMU_FLAG.NO_FLUSH }).rc).toBe(0)
    counter.left = 1
    const rc =
      op === 'attach'
        ? iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device: sbdf, space: 0 }).rc
        : iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device: sbdf }).rc
    expect(rc).toBe(-Errno.EIO)
    const { out } = iommuOp(guest, IOMMU_OP.query_device, iommu_query_device, { device: sbdf })
    expect(out).toMatchObject({ space: 0, state: DEVICE_STATE.FENCED })
    expect(resetDevice(r.dom0, sbdf)).toBe(0)
  }
  expect(r.hypervisor.snapshot().references).toBe(0)
})

test('a block that fails again at the reset: the fence stays, and what waits for it', () => {
  const counter = { left: 0 }
  const r = rig({
    wrap: (driver) =>
      failing(
        driver,
        ['block'],
        () => {
          counter.left = 1
          return -2
        },
        counter,
      ),
  })
  const guest = addGuest(r)
  give(r, guest, 0, {})
  const { sbdf } = deviceOf(r, 0)
  counter.left = 1
  const { freeFrames } = r.hypervisor.snapshot()
  expect(domctl(r.dom0, XEN_DOMCTL.destroydomain, guest.domid, xen_domctl).rc).toBe(0)
  expect(resetDevice(r.dom0, sbdf)).toBe(-Errno.EIO)
  expect(r.hypervisor.snapshot().freeFrames).toBe(freeFrames)
  counter.left = 0
  expect(resetDevice(r.dom0, sbdf)).toBe(0)
  expect(r.hypervisor.snapshot().freeFrames).toBeGreaterThan(freeFrames + 60)
})

test('a device that was attached after a block that failed stays attached when the unit has settled', () => {
  const counter = { left: 0 }
  const r = rig({ wrap: (driver) => failing(driver, ['block'], () => -2, counter) })
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY })
  const { device, sbdf } = deviceOf(r, 0)
  mapList(guest, 0, [page(guest, 10, { io_address: AT })])
  counter.left = 1
  expect(iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device: sbdf }).rc).toBe(-Errno.EIO)
  expect(iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device: sbdf, space: 0 }).rc).toBe(0)
  expect(device.read(Number(AT))).toBe(DmaOutcome.masterDisabled)
  expect(resetDevice(r.dom0, sbdf)).toBe(0)
  guest.view.configWrite(sbdf, 4, 2, 6)
  expect(device.read(Number(AT))).toBe(0)
})

test('an attach that fails blocks the mates that the hardware cannot tell apart, in the books too', () => {
  const counter = { left: 0 }
  const r = rig({
    devices: 1,
    before: (machine) => {
      const bus = machine.pci.addBridge(0, 0x40, 'conventional')
      return [0, 8].map(
        (devfn) => machine.pci.add(bus, devfn, new TestDevice(machine, { express: false })) as TestDevice,
      )
    },
    wrap: (driver) => failing(driver, ['attach'], () => -2, counter),
  })
  const [a, b] = r.devices.slice(-2) as [TestDevice, TestDevice]
  const guest = addGuest(r)
  setLimits(r.dom0, guest.domid, {})
  for (const { bdf } of [a, b]) assignment(r.dom0, XEN_DOMCTL.assign_device, DOMID.IO, bdf)
  expect(resetDevice(r.dom0, a.bdf)).toBe(0)
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, guest.domid, a.bdf)).toBe(0)
  counter.left = 1
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, guest.domid, b.bdf)).toBe(-Errno.EIO)
  const { out } = iommuOp(guest, IOMMU_OP.query_device, iommu_query_device, { device: a.bdf })
  expect(out).toMatchObject({ space: SPACE_NONE, state: DEVICE_STATE.FENCED })
  expect(resetDevice(r.dom0, a.bdf)).toBe(0)
  guest.view.configWrite(a.bdf, 4, 2, 6)
  expect(a.read(guest.mfn(9) * 4096)).toBe(DmaOutcome.blocked)
  expect(iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device: a.bdf, space: 0 }).rc).toBe(0)
  expect(a.read(guest.mfn(9) * 4096)).toBe(0)
})

test.each([
  ['an entry that cannot be cleared', 'unmap', -1, 3],
  ['an invalidation that is not answered', 'completeInvalidations', -2, 1],
] as const)(
  'an exchange that fails half-way (%s) leaves every page as it was, and reachable, and no frame behind',
  (_what, method, status, nth) => {
    const counter = { left: 0 }
    const r = rig({ wrap: (driver) => failing(driver, [method], () => status, counter) })
    const guest = addGuest(r)
    give(r, guest, 0, {})
    const { device, sbdf } = deviceOf(r, 0)
    const pfns = [40, 41, 42, 43]
    const old = pfns.map((pfn) => guest.mfn(pfn))
    pfns.forEach((pfn) => guest.poke(pfn, 0, pfn))
    const before = r.hypervisor.snapshot()
    counter.left = nth
    expect(exchange(guest, pfns)).toMatchObject({ rc: -Errno.EIO, out: { nr_exchanged: 0n } })
    counter.left = 0
    resetDevice(r.dom0, sbdf)
    guest.view.configWrite(sbdf, 4, 2, 6)
    expect(pfns.map((pfn) => [guest.mfn(pfn), guest.peek(pfn, 0)])).toEqual(pfns.map((pfn, i) => [old[i], pfn]))
    expect(old.map((mfn) => device.read(mfn * 4096))).toEqual(pfns)
    const after = r.hypervisor.snapshot()
    const own = ({ domains }: typeof after) => domains.find(({ domid }) => domid === guest.domid)
    expect([after.freeFrames - before.freeFrames, after.references]).toEqual([
      before.hypervisorFrames - after.hypervisorFrames,
      0,
    ])
    expect(own(after)).toMatchObject({ pages: own(before)!.pages, stuck: 0 })
    // And once the unit does as it should again, so does the exchange.
    expect(exchange(guest, pfns)).toMatchObject({ rc: 0, out: { nr_exchanged: 4n } })
    const first = guest.mfn(40)
    expect(pfns.map((pfn) => guest.mfn(pfn))).toEqual(pfns.map((_, i) => first + i))
    expect(device.read(old[0]! * 4096)).toBe(DmaOutcome.blocked)
    guest.poke(43, 0, 7)
    expect(device.read((first + 3) * 4096)).toBe(7)
  },
)

test('an unanswered invalidation: the call is EIO, the frame is stuck and its device fenced, until a reset (abi.md, stuck; Fencing)', () => {
  const counter = { left: 0 }
  const r = rig({
    wrap: (driver) =>
      failing(
        driver,
        ['completeInvalidations'],
        () => {
          counter.left = 1
          return -2
        },
        counter,
      ),
  })
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY })
  const { device, sbdf } = deviceOf(r, 0)
  const frame = guest.mfn(10)
  mapList(guest, 0, [page(guest, 10, { io_address: AT })])
  const { handle } = mapGrants(guest, 0, [granted(r, guest)]).elements[0]!
  expect(device.read(Number(AT))).toBe(0)
  // From here on the unit never answers.
  counter.left = 1
  expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }]).rc).toBe(-Errno.EIO)
  expect(unmapGrants(guest, 0, [handle]).rc).toBe(-Errno.EIO)
  expect(device.read(Number(AT))).toBe(DmaOutcome.masterDisabled)
  const query = () => iommuOp(guest, IOMMU_OP.query, iommu_query, {}).out
  expect(query()).toMatchObject({ stuck: 2n, pinned: 2n })
  expect(r.hypervisor.oracle.frame(frame)).toMatchObject({ owner: guest.domid, count: 2, typeCount: 1 })
  expect(entryFlags(r.dom0, 8)).toBe(0x19)
  expect(iommuOp(guest, IOMMU_OP.flush, iommu_flush, { space: 0, flags: IOMMU_FLAG.ALL }).rc).toBe(-Errno.EIO)
  guest.view.configWrite(sbdf, 4, 2, 6)
  expect(device.read(Number(AT))).toBe(DmaOutcome.masterDisabled)
  expect(resetDevice(r.dom0, sbdf)).toBe(-Errno.EIO)
  counter.left = 0
  expect(resetDevice(r.dom0, sbdf)).toBe(0)
  expect(query()).toMatchObject({ stuck: 0n, pinned: 0n, deferred: 0 })
  expect(entryFlags(r.dom0, 8)).toBe(1)
  expect(r.hypervisor.snapshot().references).toBe(0)
  guest.view.configWrite(sbdf, 4, 2, 6)
  expect(device.read(Number(AT))).toBe(DmaOutcome.blocked)
})

function granted(r: Rig, guest: Guest) {
  grant(r.dom0, 8, guest.domid, 30)
  return { domid: 0, ref: 8, access: 3, flags: ANY }
}
