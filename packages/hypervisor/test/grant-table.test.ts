import { expect, test } from 'vitest'
import {
  DOMID,
  GNTCOPY,
  GNTMAP,
  GNTST,
  GNTTABOP,
  GTF,
  HYPERCALL,
  gnttab_get_version,
  gnttab_query_size,
  gnttab_set_version,
  gnttab_setup_table,
} from '@iospace/abi'
import { answer } from './answers.ts'
import { addGuest } from './builder.ts'
import {
  copyRef,
  entryFlags,
  grant,
  grantFrame,
  mapRef,
  mapRefs,
  setEntry,
  slot,
  slotAddress,
  unmapRef,
  unmapRefs,
} from './grants.ts'
import { rig } from './rig.ts'

/** As in the probe of real Xen: a domain maps grants of its own, by its real id. */
function own() {
  const { dom0, hypervisor } = rig({ iommu: false })
  dom0.poke(20, 0, 171)
  grant(dom0, 8, 0, 20)
  return { dom0, hypervisor }
}

const HOST = GNTMAP.host_map
const DEVICE = GNTMAP.device_map
const READONLY = GNTMAP.readonly

test('map and unmap: statuses, handles and entry flags are those of Xen 4.17 (xen-answers)', () => {
  const { dom0, hypervisor } = own()
  const first = mapRef(dom0, { host_addr: slotAddress(dom0, 0), flags: HOST, ref: 8, dom: 0 })
  expect(first.status).toBe(answer('map.good_rw'))
  expect(first.handle).toBe(0)
  expect(entryFlags(dom0, 8)).toBe(answer('map.entry_flags_while_mapped'))
  expect(first.dev_bus_addr).toBe(BigInt(dom0.mfn(20)) * 4096n)
  expect(dom0.peek(slot(dom0, 0), 0)).toBe(answer('map.data'))
  const second = mapRef(dom0, { host_addr: slotAddress(dom0, 1), flags: HOST | READONLY, ref: 8, dom: 0 })
  expect(second).toMatchObject({ status: 0, handle: answer('map.second_handle') })
  expect(entryFlags(dom0, 8)).toBe(answer('map.entry_flags_two_maps'))
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 5), handle: 0 })).toBe(answer('unmap.wrong_host_addr'))
  expect(entryFlags(dom0, 8)).toBe(answer('unmap.wrong_host_addr > entry_flags_after_failed_unmap'))
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 0), handle: 0 })).toBe(answer('unmap.good_first'))
  expect(entryFlags(dom0, 8)).toBe(answer('unmap.entry_flags_one_left'))
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 0), handle: 0 })).toBe(answer('unmap.again'))
  expect(unmapRef(dom0, { handle: 1 })).toBe(answer('unmap.host_addr_zero_only_ro_left'))
  expect(entryFlags(dom0, 8)).toBe(answer('unmap.host_addr_zero_only_ro_left > entry_flags_after_that'))
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 1), handle: 0x1234 })).toBe(answer('unmap.bad_handle'))
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 1), handle: 1 })).toBe(0)
  expect(entryFlags(dom0, 8)).toBe(GTF.permit_access)
  expect(hypervisor.snapshot()).toMatchObject({ references: 0, grantMaps: { made: 2, ended: 2 } })
})

test('map: a status for each cause, and a failed map leaves the entry as it was (xen-answers)', () => {
  const { dom0, hypervisor } = own()
  const map = (value: object): number =>
    mapRef(dom0, { host_addr: slotAddress(dom0, 0), flags: HOST, ref: 8, dom: 0, ...value }).status
  grant(dom0, 9, 5, 20)
  grant(dom0, 10, 0, 20, GTF.permit_access | GTF.readonly)
  grant(dom0, 11, 0, 20, GTF.accept_transfer)
  grantFrame(dom0, 12, 0, 0xff_ffff)
  expect(map({ dom: 77 })).toBe(answer('map.no_such_domain'))
  expect(map({ dom: DOMID.SELF })).toBe(answer('map.DOMID_SELF'))
  expect(map({ ref: 0x7000_0000 })).toBe(answer('map.ref_out_of_range'))
  expect(map({ ref: 511 })).toBe(answer('map.ref_511_unused'))
  expect(map({ ref: 9 })).toBe(GNTST.general_error)
  expect(map({ ref: 10 })).toBe(GNTST.general_error)
  expect(map({ ref: 11 })).toBe(answer('map.transfer_entry'))
  expect(map({ ref: 12 })).toBe(GNTST.bad_page)
  expect(map({ flags: READONLY })).toBe(GNTST.bad_gntref)
  expect(map({ host_addr: 0xffff_8300_0000_0000n })).toBe(answer('map.host_addr_hypervisor'))
  expect(map({ host_addr: 20n * 4096n })).toBe(GNTST.general_error)
  expect(entryFlags(dom0, 8)).toBe(answer('map.host_addr_hypervisor > entry_flags_after_failed_maps'))
  expect([9, 11, 12].map((ref) => entryFlags(dom0, ref))).toEqual([1, 2, 1])
  expect(map({ ref: 10, flags: HOST | READONLY | (1 << 20) })).toBe(0)
  expect(entryFlags(dom0, 10)).toBe(answer('map.ro_entry_flags'))
  expect(hypervisor.snapshot().grantMaps.made).toBe(1)
})

test('host and device part end one at a time, the handle with the last (xen-answers; XSA-224)', () => {
  const { dom0, hypervisor } = own()
  const map = mapRef(dom0, { host_addr: slotAddress(dom0, 0), flags: HOST | DEVICE, ref: 8, dom: 0 })
  expect(map.status).toBe(answer('map.host_and_device'))
  const { handle, dev_bus_addr } = map
  expect(hypervisor.snapshot().references).toBe(4)
  expect(unmapRef(dom0, { dev_bus_addr: dev_bus_addr + 4096n, handle })).toBe(answer('unmap.device_wrong_bus_addr'))
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 0), handle })).toBe(answer('unmap.host_part_only'))
  expect(entryFlags(dom0, 8)).toBe(answer('unmap.host_part_only > entry_flags_after'))
  expect(hypervisor.snapshot().references).toBe(2)
  expect(unmapRef(dom0, { dev_bus_addr, handle })).toBe(answer('unmap.device_part'))
  expect(entryFlags(dom0, 8)).toBe(answer('unmap.device_part > entry_flags_after'))
  expect(unmapRef(dom0, { dev_bus_addr, handle })).toBe(answer('unmap.handle_now_dead'))
  expect(hypervisor.snapshot().references).toBe(0)
})

test('both parts of a handle in two elements of one batch end once each', () => {
  const { dom0, hypervisor } = own()
  const { handle, dev_bus_addr } = mapRef(dom0, {
    host_addr: slotAddress(dom0, 0),
    flags: HOST | DEVICE,
    ref: 8,
    dom: 0,
  })
  const { out } = unmapRefs(dom0, [
    { host_addr: slotAddress(dom0, 0), handle },
    { dev_bus_addr, handle },
    { dev_bus_addr, handle },
  ])
  expect(out.map(({ status }) => status)).toEqual([0, 0, GNTST.bad_handle])
  expect(hypervisor.snapshot()).toMatchObject({ references: 0, grantMaps: { made: 1, ended: 1 } })
  expect(
    mapRefs(
      dom0,
      [0, 1].map((i) => ({ host_addr: slotAddress(dom0, i), flags: HOST, ref: 8, dom: 0 })),
    ).out.map((map) => map.handle),
  ).toEqual([0, 1])
})

test('at most 128 maps of one kind of one entry (Xen 4.17: the 129th is −1)', () => {
  const { dom0, hypervisor } = own()
  const value = { flags: DEVICE | READONLY, ref: 8, dom: 0 }
  const { out } = mapRefs(
    dom0,
    Array.from({ length: 129 }, () => value),
  )
  expect(out.slice(0, 128).every(({ status }) => status === 0)).toBe(true)
  expect(out[128]!.status).toBe(GNTST.general_error)
  for (const { handle, dev_bus_addr } of out.slice(0, 128)) expect(unmapRef(dom0, { handle, dev_bus_addr })).toBe(0)
  expect(entryFlags(dom0, 8)).toBe(GTF.permit_access)
  expect(hypervisor.snapshot().references).toBe(0)
})

test("while pinned, the frame is the hypervisor's word: a changed entry changes nothing (Xen 4.17)", () => {
  const { dom0 } = own()
  dom0.poke(21, 0, 99)
  const first = mapRef(dom0, { host_addr: slotAddress(dom0, 0), flags: HOST, ref: 8, dom: 0 })
  setEntry(dom0, 8, { flags: 0, frame: dom0.mfn(21) })
  const second = mapRef(dom0, { host_addr: slotAddress(dom0, 1), flags: HOST | READONLY, ref: 8, dom: 0 })
  expect(second.status).toBe(0)
  expect(dom0.peek(slot(dom0, 1), 0)).toBe(171)
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 0), handle: first.handle })).toBe(0)
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 1), handle: second.handle })).toBe(0)
})

test('a batch goes on past a bad element, and the call returns 0 (xen-answers)', () => {
  const { dom0 } = own()
  const { rc, out } = mapRefs(dom0, [
    { host_addr: slotAddress(dom0, 0), flags: HOST, ref: 8, dom: 0 },
    { host_addr: slotAddress(dom0, 1), flags: HOST, ref: 0x7000_0000, dom: 0 },
    { host_addr: slotAddress(dom0, 2), flags: HOST, ref: 8, dom: 0 },
  ])
  expect(rc).toBe(0)
  expect(out.map(({ status }) => status)).toEqual([answer('batch.0'), answer('batch.1'), 0])
  expect(dom0.call(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, dom0.list, 0)).toBe(0)
  expect(dom0.call(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, dom0.list, -1)).toBe(-22)
  expect(dom0.call(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, 0x7fff_f000, 1)).toBe(answer('gnttab.bad_pointer'))
  expect(dom0.call(HYPERCALL.grant_table_op, 77, dom0.list, 1)).toBe(answer('gnttab.unknown_op'))
})

test('copy: bounds, names and statuses (xen-answers)', () => {
  const { dom0, hypervisor } = own()
  grant(dom0, 10, 0, 20, GTF.permit_access | GTF.readonly)
  grant(dom0, 9, 5, 20)
  const self = { domid: DOMID.SELF, u: BigInt(dom0.mfn(22)) }
  const byRef = { domid: 0, u: 10n }
  const { source_gref, dest_gref } = GNTCOPY
  expect(copyRef(dom0, { source: byRef, dest: self, len: 4096, flags: source_gref })).toBe(
    answer('copy.source_gref_readonly'),
  )
  expect(dom0.peek(22, 0)).toBe(171)
  expect(entryFlags(dom0, 10)).toBe(GTF.permit_access | GTF.readonly)
  expect(copyRef(dom0, { source: self, dest: { domid: 0, u: 8n }, len: 16, flags: dest_gref })).toBe(
    answer('copy.dest_gref'),
  )
  expect(copyRef(dom0, { source: self, dest: byRef, len: 16, flags: dest_gref })).toBe(GNTST.general_error)
  expect(copyRef(dom0, { source: self, dest: self, len: 0 })).toBe(answer('copy.len_0'))
  expect(copyRef(dom0, { source: { ...self, offset: 4090 }, dest: self, len: 16 })).toBe(
    answer('copy.source_crosses_page'),
  )
  expect(copyRef(dom0, { source: self, dest: self, len: 4097 })).toBe(GNTST.bad_copy_arg)
  expect(copyRef(dom0, { source: { ...self, offset: 4096 }, dest: self, len: 0 })).toBe(
    answer('copy.offset_4096_len_0'),
  )
  expect(copyRef(dom0, { source: { domid: 77, u: 8n }, dest: self, len: 16, flags: source_gref })).toBe(
    answer('copy.source_no_such_domain'),
  )
  expect(copyRef(dom0, { source: { domid: 0, u: 9n }, dest: self, len: 16, flags: source_gref })).toBe(
    answer('copy.source_ref_for_other_domain'),
  )
  expect(copyRef(dom0, { source: { domid: 0, u: self.u }, dest: self, len: 16 })).toBe(GNTST.permission_denied)
  expect(copyRef(dom0, { source: { ...self, u: 0xff_ffffn }, dest: self, len: 16 })).toBe(GNTST.bad_page)
  expect(hypervisor.snapshot().references).toBe(0)
})

test('tables, sizes and versions (xen-answers)', () => {
  const { dom0 } = own()
  const setup = (value: object): number =>
    dom0.op('grant_table_op', GNTTABOP.setup_table, gnttab_setup_table, {
      dom: DOMID.SELF,
      frame_list: BigInt(dom0.list),
      ...value,
    }).out.status
  expect(setup({ nr_frames: 65 })).toBe(answer('setup_table.too_many'))
  expect(setup({ nr_frames: 1, dom: 77 })).toBe(answer('setup_table.no_such_domain'))
  expect(setup({ nr_frames: 0 })).toBe(answer('setup_table.zero'))
  expect(setup({ nr_frames: 3 })).toBe(answer('setup_table.good'))
  expect(new Set(dom0.getU64(3)).size).toBe(3)
  const size = (dom: number) => dom0.op('grant_table_op', GNTTABOP.query_size, gnttab_query_size, { dom }).out
  expect(size(DOMID.SELF)).toMatchObject({ nr_frames: 3, max_nr_frames: answer('query_size.max'), status: 0 })
  expect(size(77).status).toBe(answer('query_size.no_such_domain'))
  expect(dom0.op('grant_table_op', GNTTABOP.get_version, gnttab_get_version, { dom: 77 }).rc).toBe(
    answer('get_version.no_such_domain'),
  )
  expect(dom0.op('grant_table_op', GNTTABOP.get_version, gnttab_get_version, { dom: DOMID.SELF })).toMatchObject({
    rc: 0,
    out: { version: 1 },
  })
  expect(dom0.op('grant_table_op', GNTTABOP.set_version, gnttab_set_version, { version: 3 }).rc).toBe(
    answer('set_version.3'),
  )
})

test("another domain's page: mapped, read, and refused when the entry names a page of a third (xen-answers)", () => {
  const r = rig({ iommu: false })
  const { dom0 } = r
  const guest = addGuest(r, { iommu: false })
  guest.poke(10, 0, 209)
  grant(guest, 8, 0, 10)
  grantFrame(guest, 9, 0, dom0.mfn(20))
  const map = mapRef(dom0, { host_addr: slotAddress(dom0, 0), flags: HOST, ref: 8, dom: guest.domid })
  expect(map.status).toBe(answer('xdom.map_good'))
  expect(dom0.peek(slot(dom0, 0), 0)).toBe(answer('xdom.map_good > data'))
  expect(entryFlags(guest, 8)).toBe(answer('xdom.map_good > entry_flags'))
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 0), handle: map.handle })).toBe(0)
  expect(entryFlags(guest, 8)).toBe(answer('xdom.map_good > entry_flags_unmapped'))
  expect(mapRef(dom0, { host_addr: slotAddress(dom0, 0), flags: HOST, ref: 9, dom: guest.domid }).status).toBe(
    answer('xdom.entry_names_page_of_dom0'),
  )
  expect(
    copyRef(dom0, {
      source: { domid: guest.domid, u: 8n },
      dest: { domid: DOMID.SELF, u: BigInt(dom0.mfn(23)) },
      len: 1,
      flags: GNTCOPY.source_gref,
    }),
  ).toBe(answer('xdom.copy_from'))
  expect(dom0.peek(23, 0)).toBe(answer('xdom.copy_from > data'))
  // An unprivileged domain learns nothing of others' tables.
  expect(guest.op('grant_table_op', GNTTABOP.query_size, gnttab_query_size, { dom: 0 }).out.status).toBe(
    GNTST.permission_denied,
  )
  expect(guest.op('grant_table_op', GNTTABOP.query_size, gnttab_query_size, { dom: 77 }).out.status).toBe(
    GNTST.permission_denied,
  )
})

test('hypercall arguments in a page that was granted read-only are EFAULT where the call writes them', () => {
  const { dom0 } = own()
  expect(mapRef(dom0, { host_addr: slotAddress(dom0, 0), flags: HOST | READONLY, ref: 8, dom: 0 }).status).toBe(0)
  expect(dom0.call(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, slot(dom0, 0) * 4096, 1)).toBe(-14)
})
