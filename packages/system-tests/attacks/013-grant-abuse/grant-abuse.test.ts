import {
  DOMID,
  GNTCOPY,
  GNTMAP,
  GNTST,
  gnttab_copy,
  gnttab_map_grant_ref,
  gnttab_setup_table,
  GNTTABOP,
  GTF,
  START_INFO_PFN,
} from '@iospace/abi'
import type { System } from '@iospace/lab'
import type { Kernel } from '@iospace/linux'
import { expect, test } from 'vitest'
import { page } from '../../support/raw-frontend.ts'
import { mapGrant, RawGrants, unmapGrant } from '../../support/raw-grants.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const { host_map, device_map, readonly } = GNTMAP
const ME = Domid.attacker

test('no reference of any domain can be mapped but those granted to the caller: all of them are tried', async () => {
  const mapped: string[] = []
  let tried = 0
  const played = await play({
    attacker: async (kernel) => {
      // Until the others have granted what they grant.
      await kernel.sleep(1.2e6)
      const pfn = kernel.memory.slots.allocate()
      for (const dom of [Domid.dom0, Domid.driver, Domid.neighbour, 77, DOMID.SELF, DOMID.IO, DOMID.XEN, 0xffff]) {
        for (let first = 0; first < 1024; first += 64) {
          const maps = Array.from({ length: 64 }, (_, i) => ({
            ...gnttab_map_grant_ref.zero(),
            host_addr: BigInt(pfn * 4096),
            flags: host_map | (first % 128 === 0 ? readonly : 0),
            ref: first + i,
            dom,
          }))
          kernel.hypercalls.callList('grant_table_op', GNTTABOP.map_grant_ref, gnttab_map_grant_ref, maps)
          tried += maps.length
          for (const { status, ref } of maps) if (status === GNTST.okay) mapped.push(`${ref} of ${dom}`)
        }
        await kernel.sleep(1000)
      }
    },
  })
  expect([mapped, tried]).toEqual([[], 8 * 1024])
  await expectUnharmed(played)
})

test('an entry in use is what it was when it was taken into use; read-only stays read-only (I18)', async () => {
  const seen: Record<string, unknown> = {}
  const played = await play({
    attacker: async (kernel) => {
      const grants = new RawGrants(kernel)
      const [first, second] = [page(kernel), page(kernel)]
      first.write32(0, 1)
      second.write32(0, 2)
      const frame = (buffer: typeof first): number => kernel.memory.platform.machineFrame(buffer.pfn)
      const REF = 400
      grants.write(REF, { flags: GTF.permit_access | GTF.readonly, domid: ME, frame: frame(first) })
      seen['write a read-only one'] = mapGrant(kernel, ME, REF).status
      seen['no part'] = mapGrant(kernel, ME, REF, { flags: readonly }).status
      const one = mapGrant(kernel, ME, REF, { flags: host_map | readonly })
      seen['read a read-only one'] = one.status
      // While it is in use: another frame, and writable.
      grants.write(REF, { flags: GTF.permit_access, domid: ME, frame: frame(second) })
      const two = mapGrant(kernel, ME, REF)
      seen['the same frame for the second'] = [two.status, kernel.memory.window(two.pfn).read32(0)]
      grants.write(REF, { flags: 0, domid: 0, frame: 0 })
      // As in Xen: who reads it already may read it once more; the shared entry is looked at for the first use, and for the first write.
      const three = mapGrant(kernel, ME, REF, { flags: host_map | readonly })
      seen['once more'] = [three.status, unmapGrant(kernel, three.handle, three.pfn)]
      seen['unmap at another place'] = unmapGrant(kernel, one.handle, two.pfn)
      seen['unmap at another bus address'] = unmapGrant(kernel, one.handle, one.pfn, BigInt(frame(second)) * 4096n)
      seen['unmap'] = [unmapGrant(kernel, one.handle, one.pfn), unmapGrant(kernel, two.handle, two.pfn)]
      seen['closed'] = mapGrant(kernel, ME, REF, { flags: host_map | readonly }).status
      seen['unmap twice'] = [unmapGrant(kernel, one.handle, one.pfn), unmapGrant(kernel, two.handle, two.pfn)]
      seen['other handles'] = [
        ...new Set(Array.from({ length: 2000 }, (_, handle) => unmapGrant(kernel, handle, one.pfn))),
      ]
      seen['wild handles'] = [0xffff_ffff, 0x8000_0000, 0x7fff_ffff].map((handle) =>
        unmapGrant(kernel, handle, one.pfn),
      )
    },
  })
  const { okay, general_error, bad_handle, bad_dev_addr, bad_gntref } = GNTST
  expect(seen).toEqual({
    'write a read-only one': general_error,
    'no part': bad_gntref,
    'read a read-only one': okay,
    'the same frame for the second': [okay, 1],
    'once more': [okay, okay],
    closed: general_error,
    'unmap at another place': general_error,
    'unmap at another bus address': bad_dev_addr,
    unmap: [okay, okay],
    'unmap twice': [bad_handle, bad_handle],
    'other handles': [bad_handle],
    'wild handles': [bad_handle, bad_handle, bad_handle],
  })
  await expectUnharmed(played)
})

test('a grant is mapped where a page is empty, and at most 128 times in one way; every counter comes back', async () => {
  const seen: Record<string, unknown> = {}
  const played = await play({
    attacker: async (kernel) => {
      const own = page(kernel)
      const ref = kernel.grants.grantAccess(ME, own.pfn, false)
      seen['onto its own memory'] = mapGrant(kernel, ME, ref, { pfn: own.pfn }).status
      seen['onto start_info'] = mapGrant(kernel, ME, ref, { pfn: START_INFO_PFN }).status
      seen['beyond its numbering'] = mapGrant(kernel, ME, ref, { pfn: kernel.memory.platform.pages }).status
      seen['far beyond'] = mapGrant(kernel, ME, ref, { pfn: 2 ** 40 }).status
      const maps = Array.from({ length: 200 }, () => mapGrant(kernel, ME, ref))
      const good = maps.filter(({ status }) => status === GNTST.okay)
      seen['host maps'] = [good.length, ...new Set(maps.slice(good.length).map(({ status }) => status))]
      const devices = Array.from({ length: 200 }, () => mapGrant(kernel, ME, ref, { flags: device_map | readonly }))
      const reached = devices.filter(({ status }) => status === GNTST.okay)
      seen['device maps'] = reached.length
      seen['in use'] = kernel.grants.endAccess(ref)
      for (const { handle, pfn } of good) unmapGrant(kernel, handle, pfn)
      for (const { handle, busAddress } of reached) unmapGrant(kernel, handle, 0, busAddress)
      seen['given back'] = kernel.grants.endAccess(ref)
    },
  })
  expect(seen).toEqual({
    'onto its own memory': GNTST.general_error,
    'onto start_info': GNTST.general_error,
    'beyond its numbering': GNTST.general_error,
    'far beyond': GNTST.general_error,
    'host maps': [128, GNTST.general_error],
    'device maps': expect.any(Number),
    'in use': false,
    'given back': true,
  })
  await expectUnharmed(played)
})

type Pointer = ReturnType<typeof gnttab_copy.zero>['source']

test('GNTTABOP_copy moves bytes only between what the caller has and what it was granted', async () => {
  const seen: Record<string, number> = {}
  let system!: System
  const untouched: boolean[] = []
  const played = await play({
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      const { oracle } = system.hypervisor
      const own = page(kernel)
      own.fill(0xaa)
      const frame = (domid: number): number => oracle.addressOf(domid, START_INFO_PFN) / 4096
      const mine = kernel.memory.platform.machineFrame(own.pfn)
      const at = (mfn: number | bigint, offset = 0, domid: number = DOMID.SELF): Pointer => ({
        u: BigInt(mfn),
        domid,
        offset,
      })
      const before = [Domid.dom0, Domid.driver, Domid.neighbour].map((domid) =>
        system.oracle.snapshot(frame(domid) * 4096, 4096),
      )
      const copy = (name: string, source: Pointer, dest: Pointer, flags = 0, len = 64): void => {
        seen[name] = copyOne(kernel, { source, dest, flags, len, status: 0 })
      }
      for (const domid of [Domid.dom0, Domid.driver, Domid.neighbour]) {
        copy(`from ${domid} as its own`, at(frame(domid)), at(mine))
        copy(`to ${domid} as its own`, at(mine), at(frame(domid)))
        copy(`from ${domid} by frame`, at(frame(domid), 0, domid), at(mine))
        copy(`to ${domid} by frame`, at(mine), at(frame(domid), 0, domid))
        copy(`from ${domid} by reference`, at(8, 0, domid), at(mine), GNTCOPY.source_gref)
        copy(`to ${domid} by reference`, at(mine), at(8, 0, domid), GNTCOPY.dest_gref)
      }
      copy('from the hypervisor', at(oracle.scratchAddress() / 4096), at(mine))
      copy('to the hypervisor', at(mine), at(oracle.scratchAddress() / 4096))
      copy('to the root table', at(mine), at(oracle.iommuFrames()[0]!))
      copy('from no frame', at(2n ** 52n), at(mine))
      copy('from nobody', at(0, 0, 77), at(mine), GNTCOPY.source_gref)
      const lent = kernel.grants.grantAccess(ME, page(kernel).pfn, true)
      copy('to a read-only grant', at(mine), at(lent, 0, ME), GNTCOPY.dest_gref)
      copy('across the source’s end', at(mine, 4090), at(mine), 0, 64)
      copy('across the target’s end', at(mine), at(mine, 4095), 0, 2)
      copy('the largest length', at(mine), at(mine), 0, 0xffff)
      copy('the largest offset', at(mine, 0xffff), at(mine), 0, 1)
      seen['good: its own'] = copyOne(kernel, {
        source: at(mine),
        dest: at(mine, 2048),
        flags: 0,
        len: 2048,
        status: 0,
      })
      seen['good: a read-only grant'] = copyOne(kernel, {
        source: at(lent, 0, ME),
        dest: at(mine),
        flags: GNTCOPY.source_gref,
        len: 4096,
        status: 0,
      })
      const after = [Domid.dom0, Domid.driver, Domid.neighbour].map((domid) =>
        system.oracle.snapshot(frame(domid) * 4096, 4096),
      )
      untouched.push(...after.map((bytes, i) => bytes.every((byte, j) => byte === before[i]![j])))
    },
  })
  const wrong = Object.entries(seen).filter(([name, status]) => (status === GNTST.okay) !== name.startsWith('good'))
  expect(wrong).toEqual([])
  expect(Object.keys(seen)).toHaveLength(3 * 6 + 12)
  expect(untouched).toEqual([true, true, true])
  await expectUnharmed(played)
})

function copyOne(kernel: Kernel, element: ReturnType<typeof gnttab_copy.zero>): number {
  kernel.hypercalls.callList('grant_table_op', GNTTABOP.copy, gnttab_copy, [element])
  return element.status
}

test('a table grows to its limit and no further; a list of frames goes where the caller may write', async () => {
  const statuses: number[] = []
  const played = await play({
    attacker: async (kernel) => {
      const list = page(kernel)
      for (const [nr_frames, frame_list] of [
        [64, list.address()],
        [65, list.address()],
        [0xffff_ffff, list.address()],
        [64, kernel.memory.platform.pages * 4096],
      ] as const) {
        const value = { ...gnttab_setup_table.zero(), dom: DOMID.SELF, nr_frames, frame_list: BigInt(frame_list) }
        kernel.hypercalls.callList('grant_table_op', GNTTABOP.setup_table, gnttab_setup_table, [value])
        statuses.push(value.status)
      }
    },
  })
  expect(statuses).toEqual([GNTST.okay, GNTST.general_error, GNTST.general_error, GNTST.bad_virt_addr])
  await expectUnharmed(played)
})
