import { expect, test } from 'vitest'
import {
  CONSOLEIO,
  Errno,
  EVTCHNOP,
  HYPERCALL,
  SCHEDOP,
  SHUTDOWN,
  VIRQ,
  XENFEAT,
  XENVER,
  XEN_DOMCTL,
  XEN_DOMINF,
  domctl_createdomain,
  domctl_getdomaininfo,
  evtchn_bind_virq,
  multicall_entry,
  sched_poll,
  sched_shutdown,
  xen_domctl,
  xen_feature_info,
} from '@iospace/abi'
import { answer } from './answers.ts'
import { addGuest, domctl } from './builder.ts'
import { rig } from './rig.ts'

test('an unknown hypercall is −ENOSYS, inside a multicall too, and stops nothing (xen-answers)', () => {
  const { dom0, hypervisor } = rig({ iommu: false })
  expect(dom0.call(43 + 12)).toBe(-Errno.ENOSYS)
  const calls = [
    [HYPERCALL.xen_version, XENVER.version],
    [55, 0],
    [HYPERCALL.multicall, dom0.list, 1],
    [HYPERCALL.xen_version, XENVER.pagesize],
  ] as const
  calls.forEach(([op, a1, a2 = 0], i) =>
    dom0.put(
      multicall_entry,
      { op: BigInt(op), result: 99n, args: [BigInt(a1), BigInt(a2), 0n, 0n, 0n, 0n] },
      dom0.list + i * 64,
    ),
  )
  expect(dom0.call(HYPERCALL.multicall, dom0.list, 4)).toBe(answer('multicall.rc'))
  const results = calls.map((_, i) => BigInt.asIntN(64, dom0.get(multicall_entry, dom0.list + i * 64).result))
  expect(results).toEqual([BigInt(answer('multicall.1_version')), -38n, -38n, 4096n])
  expect(dom0.call(HYPERCALL.xen_version, XENVER.version)).toBe(answer('xen_version'))
  expect(hypervisor.snapshot().hypercalls).toMatchObject({
    multicall: 1,
    'xen_version.version': 2,
    'xen_version.pagesize': 1,
  })
})

test('a register holds whole numbers: a fraction is −EINVAL, before anything is looked at', () => {
  const { dom0 } = rig({ iommu: false })
  for (const [a1, a2] of [
    [0.5, 0],
    [0, 0.5],
    [6, dom0.argument + 0.25],
  ] as const)
    expect(dom0.call(HYPERCALL.xen_version, a1, a2)).toBe(-Errno.EINVAL)
})

test('features tell dom0 from others (xen features.h)', () => {
  const r = rig({ iommu: false })
  const guest = addGuest(r, { iommu: false })
  const features = (who: typeof guest) => who.op('xen_version', XENVER.get_features, xen_feature_info, {}).out.submap
  expect(features(r.dom0) & (1 << XENFEAT.dom0)).not.toBe(0)
  expect(features(guest) & (1 << XENFEAT.dom0)).toBe(0)
  expect(features(guest) & (1 << XENFEAT.auto_translated_physmap)).toBe(0)
  expect(guest.op('xen_version', XENVER.get_features, xen_feature_info, { submap_idx: 1 }).out.submap).toBe(0)
})

test('console output reaches the injected sink with the domain that wrote it', () => {
  const r = rig({ iommu: false })
  const text = new TextEncoder().encode('hello\n')
  r.dom0.view.memory.bytes.set(text, r.dom0.offset(r.dom0.list))
  expect(r.dom0.call(HYPERCALL.console_io, CONSOLEIO.write, text.length, r.dom0.list)).toBe(0)
  expect(r.consoles).toEqual(['0: hello\n'])
  expect(r.dom0.call(HYPERCALL.console_io, CONSOLEIO.write, 5, 0)).toBe(-Errno.EFAULT)
})

test('shutdown stops the domain, tells dom0 by VIRQ_DOM_EXC, and destroys nothing', () => {
  const r = rig({ iommu: false })
  const { dom0 } = r
  const guest = addGuest(r, { iommu: false })
  expect(dom0.op('event_channel_op', EVTCHNOP.bind_virq, evtchn_bind_virq, { virq: VIRQ.DOM_EXC }).rc).toBe(0)
  expect(guest.op('sched_op', SCHEDOP.shutdown, sched_shutdown, { reason: 77 }).rc).toBe(-Errno.EINVAL)
  expect(guest.op('sched_op', SCHEDOP.shutdown, sched_shutdown, { reason: SHUTDOWN.poweroff }).rc).toBe(0)
  expect(guest.view.tasks.dead).toBe(true)
  const { out } = domctl(dom0, XEN_DOMCTL.getdomaininfo, guest.domid, domctl_getdomaininfo)
  expect(out.u).toMatchObject({ domain: guest.domid, flags: XEN_DOMINF.shutdown, tot_pages: 63n })
  expect(domctl(dom0, XEN_DOMCTL.unpausedomain, guest.domid, xen_domctl).rc).toBe(-Errno.EINVAL)
})

test('a task that throws crashes its domain alone', async () => {
  const r = rig({ iommu: false })
  const guest = addGuest(r, { iommu: false })
  const boom = new Error('boom')
  guest.view.tasks.spawn('bad', async () => {
    throw boom
  })
  await r.machine.scheduler.run()
  expect(r.crashes).toEqual([{ domid: guest.domid, error: boom }])
  const { out } = domctl(r.dom0, XEN_DOMCTL.getdomaininfo, guest.domid, domctl_getdomaininfo)
  expect(out.u.flags).toBe(XEN_DOMINF.shutdown | (SHUTDOWN.crash << XEN_DOMINF.shutdownshift))
})

test('poll may return early but names valid ports only (xen sched.h)', () => {
  const { dom0 } = rig({ iommu: false })
  dom0.putU64([5])
  expect(dom0.op('sched_op', SCHEDOP.poll, sched_poll, { ports: BigInt(dom0.list), nr_ports: 1 }).rc).toBe(
    -Errno.EINVAL,
  )
  expect(dom0.op('sched_op', SCHEDOP.poll, sched_poll, { nr_ports: 0 }).rc).toBe(0)
  expect(dom0.call(HYPERCALL.sched_op, SCHEDOP.yield)).toBe(0)
})

test("a domctl is the control domain's, of this interface version (xen domctl.h)", () => {
  const r = rig({ iommu: false })
  const guest = addGuest(r, { iommu: false })
  for (const domain of [guest.domid, 0, 77])
    expect(domctl(guest, XEN_DOMCTL.pausedomain, domain, xen_domctl).rc).toBe(-Errno.EPERM)
  expect(r.dom0.op('domctl', 0, xen_domctl, { cmd: XEN_DOMCTL.pausedomain, interface_version: 1 }).rc).toBe(
    -Errno.EACCES,
  )
  expect(domctl(r.dom0, XEN_DOMCTL.pausedomain, 77, xen_domctl).rc).toBe(-Errno.ESRCH)
  expect(domctl(r.dom0, XEN_DOMCTL.destroydomain, 0, xen_domctl).rc).toBe(-Errno.EINVAL)
  expect(r.dom0.call(HYPERCALL.domctl, 0)).toBe(-Errno.EFAULT)
})

test('a domain that runs cannot be paused; one that was built is paused until its first unpause, which boots it once', () => {
  const r = rig({ iommu: false })
  const guest = addGuest(r, { iommu: false })
  const control = (cmd: number, domid: number) => domctl(r.dom0, cmd, domid, xen_domctl).rc
  expect(control(XEN_DOMCTL.pausedomain, guest.domid)).toBe(-Errno.EOPNOTSUPP)
  r.booted.delete(guest.domid)
  expect(control(XEN_DOMCTL.unpausedomain, guest.domid)).toBe(0)
  expect(r.booted.has(guest.domid)).toBe(false)
  const { out } = domctl(r.dom0, XEN_DOMCTL.createdomain, 0, domctl_createdomain, { max_vcpus: 1 })
  expect(control(XEN_DOMCTL.pausedomain, out.domain)).toBe(0)
  expect(control(XEN_DOMCTL.unpausedomain, out.domain)).toBe(0)
  expect(r.booted.has(out.domain)).toBe(true)
  expect(control(XEN_DOMCTL.pausedomain, 0)).toBe(-Errno.EINVAL)
})

test('a kernel that cannot start crashes its own domain, not the one that started it', () => {
  const boom = new Error('no kernel')
  const r = rig({
    iommu: false,
    boot: (domid) => {
      if (domid !== 0) throw boom
    },
  })
  const { out } = domctl(r.dom0, XEN_DOMCTL.createdomain, 0, domctl_createdomain, { max_vcpus: 1 })
  expect(domctl(r.dom0, XEN_DOMCTL.unpausedomain, out.domain, xen_domctl).rc).toBe(0)
  expect(r.crashes).toEqual([{ domid: out.domain, error: boom }])
  const info = domctl(r.dom0, XEN_DOMCTL.getdomaininfo, out.domain, domctl_getdomaininfo).out
  expect(info.u.flags).toBe(XEN_DOMINF.shutdown | (SHUTDOWN.crash << XEN_DOMINF.shutdownshift))
})
