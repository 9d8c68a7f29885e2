import * as abi from '@iospace/abi'
import type { System } from '@iospace/lab'
import type { Kernel, KernelBuffer } from '@iospace/linux'
import { DmaOutcome } from '@iospace/machine'
import { expect, test } from 'vitest'
import { iommuOp, listOf, raw as rawCall } from '../../support/calls.ts'
import { page } from '../../support/raw-frontend.ts'
import { unmapGrant } from '../../support/raw-grants.ts'
import { Rogue } from '../../support/rogue.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const { IOMMU_OP, ACCESS, MAP_ELEMENT_FLAGS } = abi
const ROGUE = 0x200
/** More than the hypervisor does between two preemption points. */
const ELEMENTS = 85

/** A call prepared in memory: where its struct and its elements are, and how it is made. */
interface Prepared {
  readonly argument: KernelBuffer
  readonly elements: KernelBuffer
  readonly elementBytes: number
  readonly make: () => number
}

/**
 * Makes the call while another CPU, or a device, changes the arguments: at each of its preemption points and every nanosecond of virtual
 * time that passes in it, every element and every word of the struct is something else. What the call says.
 */
function underFlips(
  system: System,
  prepared: Prepared,
  evil: (buffer: KernelBuffer, base: number) => void,
  active: boolean,
): number {
  const { clock } = system.machine
  let changes = 0
  let over = !active
  const kept = prepared.argument.read(0, new Uint8Array(256))
  const change = (): void => {
    if (over) return
    changes++
    for (let i = 0; i < ELEMENTS; i++) evil(prepared.elements, i * prepared.elementBytes)
    // Size, flags, domain, space, count and array of the struct.
    for (let at = 0; at < 64; at += 4) prepared.argument.write32(at, MARK + at)
  }
  const tick = (): void => {
    change()
    if (!over) clock.after(1, tick)
  }
  system.hypervisor.onPreempt = active ? change : null
  // The copy-in is one event: what changes before it is what the call was made with. So the first change comes after the call's own start.
  if (active) clock.after(HYPERCALL_TIME, tick)
  try {
    const made = prepared.make()
    if (active && changes === 0) throw new Error('nothing was changed under the call: nothing was tried')
    return made
  } finally {
    over = true
    system.hypervisor.onPreempt = null
    restoreUnchanged(prepared.argument, kept, MARK)
  }
}

/** Not a size, flag or list that any call would take. */
const MARK = 0xdead_0000
/** A little more than what entering the hypervisor takes. */
const HYPERCALL_TIME = 151

/** IN fields are put back for whoever looks at them; OUT fields stay. */
function restoreUnchanged(buffer: KernelBuffer, kept: Uint8Array, mark: number): void {
  for (let at = 0; at < 64; at += 4) {
    if (buffer.read32(at) === (mark + at) >>> 0) buffer.write(at, kept.subarray(at, at + 4))
  }
}

function ownSpace(kernel: Kernel): number {
  const devices = [ROGUE, ...abi.iommu_create_space.zero().devices.slice(1)]
  const { value } = iommuOp(kernel, IOMMU_OP.create_space, abi.iommu_create_space, { device_count: 1, devices })
  iommuOp(kernel, IOMMU_OP.attach_device, abi.iommu_attach_device, { space: value.space, device: ROGUE })
  return value.space
}

test.each([false, true])('map and unmap act on what was copied in (changed meanwhile: %s)', async (active) => {
  const seen = { map: -1, done: -1, frames: 0, foreign: 0, statuses: new Set<number>(), unmap: -1, left: -1 }
  let system!: System
  const played = await play({
    rogue: true,
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      const space = ownSpace(kernel)
      const victim = system.hypervisor.oracle.addressOf(Domid.dom0, abi.START_INFO_PFN) / 4096
      const own = Array.from({ length: ELEMENTS }, () => kernel.memory.platform.machineFrame(page(kernel).pfn))
      const { list, buffer, read } = listOf(
        kernel,
        abi.iommu_map_element,
        own.map((mfn) => ({
          gfn: BigInt(mfn),
          pages: 1n,
          access: ACCESS.READ | ACCESS.WRITE,
          flags: MAP_ELEMENT_FLAGS.ANY,
        })),
      )
      const argument = page(kernel)
      argument.writeStruct(abi.iommu_map, {
        ...abi.iommu_map.zero(),
        size: abi.iommu_map.size,
        domid: abi.DOMID.SELF,
        space,
        list,
      })
      const make = (): number => rawCall(kernel, 'iommu_op', IOMMU_OP.map, argument.address())
      const { gfn, pages, access } = abi.iommu_map_element.offsets
      const evil = (each: KernelBuffer, at: number): void => {
        each.write32(at + gfn, victim)
        each.write32(at + pages, 0xffff_ffff)
        each.write16(at + access, 7)
      }
      seen.map = underFlips(
        system,
        { argument, elements: buffer, elementBytes: abi.iommu_map_element.size, make },
        evil,
        active,
      )
      seen.done = argument.readStruct(abi.iommu_map).done
      const addresses = read().map(({ io_address, status }) => {
        seen.statuses.add(status)
        return io_address
      })
      addresses.forEach((io_address, i) => {
        const { result, value } = iommuOp(kernel, IOMMU_OP.lookup, abi.iommu_lookup, { space, io_address })
        if (result === 0 && Number(value.gfn) === own[i]) seen.frames++
        if (Number(value.gfn) === victim) seen.foreign++
      })
      // And back: the ranges to unmap become everything.
      const ranges = listOf(
        kernel,
        abi.iommu_unmap_element,
        addresses.slice(0, -1).map((io_address) => ({ io_address, pages: 1n })),
      )
      argument.fill(0)
      argument.writeStruct(abi.iommu_unmap, {
        ...abi.iommu_unmap.zero(),
        size: abi.iommu_unmap.size,
        domid: abi.DOMID.SELF,
        space,
        list: ranges.list,
      })
      const unmap = (): number => rawCall(kernel, 'iommu_op', IOMMU_OP.unmap, argument.address())
      const { offsets } = abi.iommu_unmap_element
      const wide = (each: KernelBuffer, at: number): void => {
        each.write32(at + offsets.io_address, 0)
        each.write32(at + offsets.pages, 0x7fff_ffff)
      }
      seen.unmap = underFlips(
        system,
        { argument, elements: ranges.buffer, elementBytes: abi.iommu_unmap_element.size, make: unmap },
        wide,
        active,
      )
      const last = iommuOp(kernel, IOMMU_OP.lookup, abi.iommu_lookup, { space, io_address: addresses.at(-1)! })
      seen.left = Number(last.value.gfn) === own.at(-1) ? 1 : 0
    },
  })
  expect(seen).toEqual({
    map: 0,
    done: ELEMENTS,
    frames: ELEMENTS,
    foreign: 0,
    statuses: new Set([0]),
    unmap: 0,
    left: 1,
  })
  await expectUnharmed(played)
})

/** Elements of one copy-in of a grant_table_op. */
const BATCH = 32

/** A neighbour who grants {@link BATCH} pages read-only to the attacker, each with its number in it. */
function generous(refs: number[]): (kernel: Kernel) => Promise<void> {
  return async (kernel) => {
    for (let i = 0; i < BATCH; i++) {
      const own = page(kernel)
      own.write32(0, 1000 + i)
      refs.push(kernel.grants.grantAccess(Domid.attacker, own.pfn, true))
    }
    await kernel.sleep(3e6)
  }
}

test.each([false, true])('map_grant_ref acts on what was copied in (changed meanwhile: %s)', async (active) => {
  const seen = { result: -1, statuses: new Set<number>(), pages: 0, unmapped: new Set<number>() }
  const refs: number[] = []
  let system!: System
  const played = await play({
    // With a device there is a mirror: entering it takes time, in which things change.
    rogue: true,
    neighbour: generous(refs),
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      while (refs.length < BATCH) await kernel.sleep(10e3)
      const elements = page(kernel)
      const struct = abi.gnttab_map_grant_ref
      const slots = refs.map((ref, i) => {
        const pfn = kernel.memory.slots.allocate()
        const flags = abi.GNTMAP.host_map | abi.GNTMAP.readonly
        elements.writeStruct(
          struct,
          { ...struct.zero(), host_addr: BigInt(pfn * 4096), flags, ref, dom: Domid.neighbour },
          i * struct.size,
        )
        return pfn
      })
      const make = (): number =>
        rawCall(kernel, 'grant_table_op', abi.GNTTABOP.map_grant_ref, elements.address(), BATCH)
      const evil = (each: KernelBuffer, at: number): void => {
        if (at >= BATCH * struct.size) return
        each.write16(at + struct.offsets.dom, Domid.dom0)
        each.write32(at + struct.offsets.ref, 8)
        each.write32(at + struct.offsets.flags, abi.GNTMAP.host_map)
        each.write32(at + struct.offsets.host_addr, abi.START_INFO_PFN * 4096)
      }
      seen.result = underFlips(
        system,
        { argument: page(kernel), elements, elementBytes: struct.size, make },
        evil,
        active,
      )
      slots.forEach((pfn, i) => {
        const { status, handle } = elements.readStruct(struct, i * struct.size)
        seen.statuses.add(status)
        if (kernel.memory.platform.frameOffset(pfn) >= 0 && kernel.memory.window(pfn).read32(0) === 1000 + i)
          seen.pages++
        seen.unmapped.add(unmapGrant(kernel, handle, pfn))
      })
    },
  })
  expect(seen).toEqual({ result: 0, statuses: new Set([0]), pages: BATCH, unmapped: new Set([0]) })
  await expectUnharmed(played, { readings: 'any' })
})

test.each([false, true])(
  'map_grant into an I/O space acts on what was copied in (changed meanwhile: %s)',
  async (active) => {
    const seen = {
      result: -1,
      statuses: new Set<number>(),
      granted: new Set<number>(),
      pages: 0,
      writes: new Set<number>(),
    }
    const refs: number[] = []
    let system!: System
    const played = await play({
      rogue: true,
      neighbour: generous(refs),
      prepare: (built) => (system = built),
      attacker: async (kernel) => {
        while (refs.length < BATCH) await kernel.sleep(10e3)
        const rogue = await Rogue.bind(kernel)
        const space = ownSpace(kernel)
        const struct = abi.iommu_map_grant_element
        const { list, buffer, read } = listOf(
          kernel,
          struct,
          refs.map((ref) => ({
            ref,
            domid: Domid.neighbour,
            access: ACCESS.READ,
            flags: abi.MAP_GRANT_ELEMENT_FLAGS.ANY,
          })),
        )
        const argument = page(kernel)
        argument.writeStruct(abi.iommu_map_grant, {
          ...abi.iommu_map_grant.zero(),
          size: abi.iommu_map_grant.size,
          domid: abi.DOMID.SELF,
          space,
          list,
        })
        const make = (): number => rawCall(kernel, 'iommu_op', IOMMU_OP.map_grant, argument.address())
        const evil = (each: KernelBuffer, at: number): void => {
          each.write16(at + struct.offsets.domid, Domid.dom0)
          each.write32(at + struct.offsets.ref, 8)
          each.write16(at + struct.offsets.access, ACCESS.READ | ACCESS.WRITE)
        }
        seen.result = underFlips(system, { argument, elements: buffer, elementBytes: struct.size, make }, evil, active)
        const bytes = new Uint8Array(4)
        read().forEach(({ status, granted, io_address }, i) => {
          seen.statuses.add(status)
          seen.granted.add(granted)
          if (rogue.read(io_address, bytes) > 0 && new DataView(bytes.buffer).getUint32(0, true) === 1000 + i)
            seen.pages++
          seen.writes.add(rogue.write(io_address, bytes))
        })
      },
    })
    expect(seen).toEqual({
      result: 0,
      statuses: new Set([0]),
      granted: new Set([ACCESS.READ]),
      pages: BATCH,
      writes: new Set([DmaOutcome.blocked]),
    })
    await expectUnharmed(played, { readings: 'any' })
  },
)
