import { expect, test } from 'vitest'
import {
  DOMID,
  EVTCHNOP,
  EVTCHNSTAT,
  Errno,
  HYPERCALL,
  VIRQ,
  XENMAPSPACE,
  XENMEM,
  evtchn_alloc_unbound,
  evtchn_bind_interdomain,
  evtchn_bind_ipi,
  evtchn_bind_pirq,
  evtchn_bind_vcpu,
  evtchn_bind_virq,
  evtchn_close,
  evtchn_reset,
  evtchn_send,
  evtchn_status,
  evtchn_unmask,
  shared_info,
  vcpu_info,
  xen_add_to_physmap,
} from '@iospace/abi'
import { answer } from './answers.ts'
import { addGuest } from './builder.ts'
import { type Guest, rig } from './rig.ts'

const send = (guest: Guest, port: number): number =>
  guest.op('event_channel_op', EVTCHNOP.send, evtchn_send, { port }).rc
const close = (guest: Guest, port: number): number =>
  guest.op('event_channel_op', EVTCHNOP.close, evtchn_close, { port }).rc
const status = (guest: Guest, port: number, dom: number = DOMID.SELF) =>
  guest.op('event_channel_op', EVTCHNOP.status, evtchn_status, { dom, port })
const unbound = (guest: Guest, remote_dom: number, dom: number = DOMID.SELF) =>
  guest.op('event_channel_op', EVTCHNOP.alloc_unbound, evtchn_alloc_unbound, { dom, remote_dom })
const interdomain = (guest: Guest, remote_dom: number, remote_port: number) =>
  guest.op('event_channel_op', EVTCHNOP.bind_interdomain, evtchn_bind_interdomain, { remote_dom, remote_port })

/** Maps shared_info into a spare slot; the flat offset of the page. */
function shared(guest: Guest): number {
  const gpfn = guest.view.memory.pages - 2
  guest.op('memory_op', XENMEM.add_to_physmap, xen_add_to_physmap, {
    domid: DOMID.SELF,
    space: XENMAPSPACE.shared_info,
    gpfn: BigInt(gpfn),
  })
  return guest.view.memory.frameOffset(gpfn)
}

function pair() {
  const r = rig({ iommu: false })
  const guest = addGuest(r, { iommu: false })
  const port = unbound(guest, 0).out.port
  const local = interdomain(r.dom0, guest.domid, port).out.local_port
  return { ...r, guest, port, local }
}

test('ports are bound, sent to and closed with the answers of Xen 4.17 (xen-answers)', () => {
  const { dom0 } = rig({ iommu: false })
  const first = unbound(dom0, DOMID.SELF)
  expect(first.rc).toBe(answer('evtchn.alloc_unbound'))
  expect(first.out.port).toBe(answer('evtchn.first_port'))
  expect(send(dom0, 0)).toBe(answer('evtchn.send_port_0'))
  expect(send(dom0, first.out.port)).toBe(0)
  expect(interdomain(dom0, 0, 999).rc).toBe(answer('evtchn.bind_bad_port'))
  expect(interdomain(dom0, 77, 1).rc).toBe(-Errno.ESRCH)
  const local = interdomain(dom0, 0, first.out.port)
  expect(local).toMatchObject({ rc: 0, out: { local_port: answer('evtchn.bind_local_port') } })
  expect(send(dom0, local.out.local_port)).toBe(answer('evtchn.send_good'))
  expect(status(dom0, local.out.local_port).out.status).toBe(answer('evtchn.status'))
  expect(close(dom0, local.out.local_port)).toBe(0)
  expect(close(dom0, local.out.local_port)).toBe(answer('evtchn.close_again'))
  expect(status(dom0, first.out.port).out.status).toBe(EVTCHNSTAT.unbound)
  const virq = (value: object): number =>
    dom0.op('event_channel_op', EVTCHNOP.bind_virq, evtchn_bind_virq, { virq: VIRQ.DOM_EXC, ...value }).rc
  expect(virq({})).toBe(0)
  expect(virq({})).toBe(answer('evtchn.bind_virq_again'))
  expect(virq({ virq: 24 })).toBe(-Errno.EINVAL)
  expect(virq({ virq: 0, vcpu: 1 })).toBe(-Errno.ENOENT)
  expect(dom0.op('event_channel_op', EVTCHNOP.bind_ipi, evtchn_bind_ipi, { vcpu: 3 }).rc).toBe(-Errno.ENOENT)
  expect(dom0.op('event_channel_op', EVTCHNOP.bind_vcpu, evtchn_bind_vcpu, { port: first.out.port, vcpu: 1 }).rc).toBe(
    -Errno.ENOENT,
  )
  expect(dom0.op('event_channel_op', EVTCHNOP.bind_pirq, evtchn_bind_pirq, { pirq: 20 }).rc).toBe(-Errno.EINVAL)
  expect(dom0.op('event_channel_op', EVTCHNOP.expand_array, evtchn_close, {}).rc).toBe(-Errno.ENOSYS)
})

test('an event sets pending, selector and upcall, in that order, and the handler runs between tasks (abi, vcpu_info)', async () => {
  const { machine, dom0, guest, port, local } = pair()
  const page = shared(guest)
  const { bytes, words } = machine.memory
  const log: number[] = []
  words[page >> 2] = 0
  words[(page + vcpu_info.offsets.evtchn_pending_sel) >> 2] = 0
  words[(page + shared_info.offsets.evtchn_pending) >> 2] = 0
  guest.view.onUpcall(() => {
    log.push(words[(page + shared_info.offsets.evtchn_pending) >> 2]!)
    expect(bytes[page + vcpu_info.offsets.evtchn_upcall_mask]).toBe(1)
    bytes[page] = 0
    words[(page + vcpu_info.offsets.evtchn_pending_sel) >> 2] = 0
    words[(page + shared_info.offsets.evtchn_pending) >> 2] = 0
  })
  guest.view.tasks.spawn('keep', async () => {
    await machine.scheduler.sleep(1e6)
  })
  expect(send(dom0, local)).toBe(0)
  expect(send(dom0, local)).toBe(0)
  expect(bytes[page + vcpu_info.offsets.evtchn_upcall_pending]).toBe(1)
  expect(words[(page + vcpu_info.offsets.evtchn_pending_sel) >> 2]).toBe(1)
  expect(log).toEqual([])
  await machine.scheduler.run()
  expect(log).toEqual([1 << port])
  expect(bytes[page + vcpu_info.offsets.evtchn_upcall_mask]).toBe(0)
})

test('a masked port is pending only; unmask delivers it (xen evtchn_unmask)', () => {
  const { machine, dom0, guest, port, local } = pair()
  const page = shared(guest)
  const { words } = machine.memory
  guest.op('event_channel_op', EVTCHNOP.unmask, evtchn_unmask, { port })
  words[page >> 2] = 0
  words[(page + vcpu_info.offsets.evtchn_pending_sel) >> 2] = 0
  words[(page + shared_info.offsets.evtchn_pending) >> 2] = 0
  words[(page + shared_info.offsets.evtchn_mask) >> 2] = 1 << port
  send(dom0, local)
  expect(words[(page + shared_info.offsets.evtchn_pending) >> 2]).toBe(1 << port)
  expect(words[page >> 2]).toBe(0)
  expect(guest.op('event_channel_op', EVTCHNOP.unmask, evtchn_unmask, { port }).rc).toBe(0)
  expect(words[page >> 2]! & 0xff).toBe(1)
})

test("ports are the caller's own: nobody but the control domain acts for another (I17)", () => {
  const { dom0, guest, port } = pair()
  const other = unbound(dom0, DOMID.SELF).out.port
  expect(unbound(guest, 0, 0).rc).toBe(-Errno.EPERM)
  expect(unbound(guest, 0, 77).rc).toBe(-Errno.EPERM)
  expect(unbound(dom0, 0, 77).rc).toBe(-Errno.ESRCH)
  expect(interdomain(guest, 0, other).rc).toBe(-Errno.EINVAL)
  expect(status(guest, 1, 0).rc).toBe(-Errno.EPERM)
  expect(status(guest, 1, 77).rc).toBe(-Errno.EPERM)
  expect(status(dom0, port, guest.domid)).toMatchObject({ rc: 0, out: { status: EVTCHNSTAT.interdomain } })
  expect(guest.op('event_channel_op', EVTCHNOP.reset, evtchn_reset, { dom: 0 }).rc).toBe(-Errno.EPERM)
})

test('reset closes every port and leaves the peers unbound', () => {
  const { dom0, guest, port, local } = pair()
  expect(guest.op('event_channel_op', EVTCHNOP.reset, evtchn_reset, { dom: DOMID.SELF }).rc).toBe(0)
  expect(status(guest, port).out.status).toBe(EVTCHNSTAT.closed)
  expect(status(dom0, local).out.status).toBe(EVTCHNSTAT.unbound)
})

test('a domain has no more than 4095 ports of the two-level form (abi, EVTCHN_2L_NR_CHANNELS)', () => {
  const { dom0 } = rig({ iommu: false })
  let ports = 0
  dom0.put(evtchn_alloc_unbound, { dom: DOMID.SELF, remote_dom: 0, port: 0 })
  while (dom0.call(HYPERCALL.event_channel_op, EVTCHNOP.alloc_unbound, dom0.argument) === 0) ports++
  expect(ports).toBe(4095)
  expect(unbound(dom0, 0).rc).toBe(-Errno.ENOSPC)
  expect(close(dom0, 2000)).toBe(0)
  expect(unbound(dom0, 0).out.port).toBe(2000)
})
