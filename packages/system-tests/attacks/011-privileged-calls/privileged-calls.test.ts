import * as abi from '@iospace/abi'
import type { System } from '@iospace/lab'
import type { Kernel } from '@iospace/linux'
import { expect, test } from 'vitest'
import { call, domctl, iommuOp } from '../../support/calls.ts'
import { page } from '../../support/raw-frontend.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const { XEN_DOMCTL, XENMEM, GNTTABOP, EVTCHNOP, PHYSDEVOP, GNTST } = abi
/** The disk controller and the rogue device by machine address. */
const NVME = 0x100
const ROGUE = 0x200
const NOBODY = 77
const SUBJECTS = [Domid.dom0, Domid.driver, Domid.neighbour, NOBODY] as const

const EPERM = -abi.Errno.EPERM

/** Every domctl about `domid`. */
function domctls(kernel: Kernel, domid: number): [string, number][] {
  const device = { dev: abi.XEN_DOMCTL_DEV.PCI, flags: 0, machine_sbdf: NVME }
  return [
    ['createdomain', domctl(kernel, XEN_DOMCTL.createdomain, domid, abi.domctl_createdomain).result],
    ['destroydomain', domctl(kernel, XEN_DOMCTL.destroydomain, domid, abi.xen_domctl).result],
    ['pausedomain', domctl(kernel, XEN_DOMCTL.pausedomain, domid, abi.xen_domctl).result],
    ['unpausedomain', domctl(kernel, XEN_DOMCTL.unpausedomain, domid, abi.xen_domctl).result],
    ['getdomaininfo', domctl(kernel, XEN_DOMCTL.getdomaininfo, domid, abi.domctl_getdomaininfo).result],
    ['max_mem', domctl(kernel, XEN_DOMCTL.max_mem, domid, abi.domctl_max_mem, { max_memkb: 1n << 30n }).result],
    [
      'iomem_permission',
      domctl(kernel, XEN_DOMCTL.iomem_permission, domid, abi.domctl_iomem_permission, {
        first_mfn: 0xe0000n,
        nr_mfns: 1n,
        allow_access: 1,
      }).result,
    ],
    [
      'irq_permission',
      domctl(kernel, XEN_DOMCTL.irq_permission, domid, abi.domctl_irq_permission, { pirq: 16, allow_access: 1 }).result,
    ],
    ['assign_device', domctl(kernel, XEN_DOMCTL.assign_device, domid, abi.domctl_assign_device, device).result],
    [
      'test_assign_device',
      domctl(kernel, XEN_DOMCTL.test_assign_device, domid, abi.domctl_assign_device, device).result,
    ],
    ['deassign_device', domctl(kernel, XEN_DOMCTL.deassign_device, domid, abi.domctl_assign_device, device).result],
    [
      'get_device_group',
      domctl(kernel, XEN_DOMCTL.get_device_group, domid, abi.domctl_get_device_group, { machine_sbdf: NVME }).result,
    ],
    ['no such domctl', domctl(kernel, 99, domid, abi.xen_domctl).result],
  ]
}

/** Every iommu_op that there is about another domain. Those that only the control domain may do, about itself, too. */
function iommuOps(kernel: Kernel, domid: number): [string, number][] {
  const own = domid === abi.DOMID.SELF
  return abi.IOMMU_SUBOPS.filter(({ rights }) => !own || !rights.self).map(({ number, struct, name }) => [
    name,
    iommuOp(kernel, number, struct, { domid } as never).result,
  ])
}

/** Calls about memory, ports, grants and interrupts of another domain, each with what says no. */
function others(kernel: Kernel, domid: number): [string, number, number][] {
  const list = page(kernel)
  list.write32(0, 500)
  const reservation = { extent_start: BigInt(list.address()), nr_extents: 1n, extent_order: 0, mem_flags: 0, domid }
  const { memory_op, grant_table_op, event_channel_op, physdev_op } = {
    memory_op: 'memory_op',
    grant_table_op: 'grant_table_op',
    event_channel_op: 'event_channel_op',
    physdev_op: 'physdev_op',
  } as const
  const grant = <S extends typeof abi.gnttab_query_size | typeof abi.gnttab_setup_table>(
    subop: number,
    struct: S,
  ): number => {
    const value = { ...struct.zero(), dom: domid, nr_frames: 1, frame_list: BigInt(list.address()) }
    kernel.hypercalls.callList(grant_table_op, subop, struct as typeof abi.gnttab_setup_table, [value as never])
    return value.status
  }
  const memory = (subop: number, struct: typeof abi.xen_memory_reservation): number =>
    call(kernel, memory_op, subop, struct, reservation).result
  const exchange = { in: reservation, out: reservation, nr_exchanged: 0n }
  const batch = { domid, space: abi.XENMAPSPACE.shared_info, size: 1, foreign_domid: 0, idxs: 0n, gpfns: 0n, errs: 0n }
  return [
    ['increase_reservation', memory(XENMEM.increase_reservation, abi.xen_memory_reservation), 0],
    ['decrease_reservation', memory(XENMEM.decrease_reservation, abi.xen_memory_reservation), 0],
    ['populate_physmap', memory(XENMEM.populate_physmap, abi.xen_memory_reservation), 0],
    ['exchange', call(kernel, memory_op, XENMEM.exchange, abi.xen_memory_exchange, exchange).result, EPERM],
    [
      'add_to_physmap',
      call(kernel, memory_op, XENMEM.add_to_physmap, abi.xen_add_to_physmap, { domid, gpfn: 2000n }).result,
      EPERM,
    ],
    [
      'add_to_physmap_batch',
      call(kernel, memory_op, XENMEM.add_to_physmap_batch, abi.xen_add_to_physmap_batch, batch).result,
      EPERM,
    ],
    [
      'remove_from_physmap',
      call(kernel, memory_op, XENMEM.remove_from_physmap, abi.xen_remove_from_physmap, { domid, gpfn: 1n }).result,
      EPERM,
    ],
    ['query_size', grant(GNTTABOP.query_size, abi.gnttab_query_size), GNTST.permission_denied],
    ['setup_table', grant(GNTTABOP.setup_table, abi.gnttab_setup_table), GNTST.permission_denied],
    [
      'get_version',
      (() => {
        const value = { ...abi.gnttab_get_version.zero(), dom: domid }
        return kernel.hypercalls.callList(grant_table_op, GNTTABOP.get_version, abi.gnttab_get_version, [value])
      })(),
      EPERM,
    ],
    [
      'alloc_unbound',
      call(kernel, event_channel_op, EVTCHNOP.alloc_unbound, abi.evtchn_alloc_unbound, {
        dom: domid,
        remote_dom: abi.DOMID.SELF,
      }).result,
      EPERM,
    ],
    [
      'status',
      call(kernel, event_channel_op, EVTCHNOP.status, abi.evtchn_status, { dom: domid, port: 1 }).result,
      EPERM,
    ],
    ['reset', call(kernel, event_channel_op, EVTCHNOP.reset, abi.evtchn_reset, { dom: domid }).result, EPERM],
    [
      'map_pirq',
      call(kernel, physdev_op, PHYSDEVOP.map_pirq, abi.physdev_map_pirq, {
        domid,
        type: abi.MAP_PIRQ_TYPE.MSI_SEG,
        pirq: -1,
        bus: 1,
      }).result,
      EPERM,
    ],
    [
      'unmap_pirq',
      call(kernel, physdev_op, PHYSDEVOP.unmap_pirq, abi.physdev_unmap_pirq, { domid, pirq: 16 }).result,
      EPERM,
    ],
  ]
}

test('calls of the control domain, and calls about others, are refused to a guest, and say nothing of who exists (I17)', async () => {
  const wrong: string[] = []
  let asked = 0
  let system!: System
  const count = ([name, result, no = EPERM]: [string, number, number?], who: string): void => {
    asked++
    if (result !== no) wrong.push(`${name} about ${who}: ${abi.errnoName(result) ?? result}`)
  }
  let before: unknown
  let after: unknown
  const facts = () =>
    system.hypervisor
      .snapshot()
      .domains.map(({ domid, life, pages, devices, spaces }) => ({ domid, life, pages, devices, spaces }))
  const played = await play({
    rogue: true,
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      // The neighbour has booted and connected, the driver domain has done so for it.
      await kernel.sleep(2e6)
      before = facts()
      for (const domid of [...SUBJECTS, Domid.attacker, abi.DOMID.SELF])
        for (const row of domctls(kernel, domid)) count(row, String(domid))
      for (const domid of [...SUBJECTS, abi.DOMID.SELF])
        for (const row of iommuOps(kernel, domid)) count(row, String(domid))
      for (const domid of SUBJECTS) for (const row of others(kernel, domid)) count(row, String(domid))
      for (const bus of [NVME, ROGUE]) {
        const dev = { seg: 0, bus: bus >> 8, devfn: bus & 0xff }
        count(
          [
            'pci_device_reset',
            call(kernel, 'physdev_op', PHYSDEVOP.pci_device_reset, abi.pci_device_reset, { dev, flags: 0 }).result,
          ],
          `device ${bus}`,
        )
      }
      after = facts()
    },
  })
  expect(wrong).toEqual([])
  expect(asked).toBeGreaterThan(200)
  expect(after).toEqual(before)
  await expectUnharmed(played)
})

test('a domctl of another interface version is EACCES, from whomever (domctl.h)', async () => {
  const results: number[] = []
  const played = await play({
    attacker: async (kernel) => {
      const value = {
        ...abi.xen_domctl.zero(),
        cmd: XEN_DOMCTL.destroydomain,
        domain: Domid.neighbour,
        interface_version: 0x14,
      }
      results.push(kernel.hypercalls.callDirect('domctl', abi.xen_domctl, value))
    },
  })
  expect(results).toEqual([-abi.Errno.EACCES])
  await expectUnharmed(played)
})
