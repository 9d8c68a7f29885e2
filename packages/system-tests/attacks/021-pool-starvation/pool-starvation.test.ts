import * as abi from '@iospace/abi'
import type { System } from '@iospace/lab'
import type { Kernel } from '@iospace/linux'
import { expect, test } from 'vitest'
import { call, iommuOp, listOf } from '../../support/calls.ts'
import { page } from '../../support/raw-frontend.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const { IOMMU_OP, ACCESS, XENMEM } = abi
const ROGUE = 0x200

function createSpace(kernel: Kernel): { readonly result: number; readonly space: number } {
  const devices = [ROGUE, ...abi.iommu_create_space.zero().devices.slice(1)]
  const { result, value } = iommuOp(kernel, IOMMU_OP.create_space, abi.iommu_create_space, { device_count: 1, devices })
  return { result, space: value.space }
}

test('table pages, pinned frames and spaces end at the domain’s own limits, and come back (I16)', async () => {
  const seen: Record<string, unknown> = {}
  let system!: System
  const usage = () => system.hypervisor.snapshot().domains.find(({ domid }) => domid === Domid.attacker)!
  const played = await play({
    rogue: true,
    // The toolstack's usual limits, but a hundred table pages and five hundred pinned frames beyond the mirror.
    limits: { tablePages: 100, pinned: 500, spaces: 3 },
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      const free = system.hypervisor.snapshot().freeFrames
      const spaces = Array.from({ length: 6 }, () => createSpace(kernel))
      seen['spaces'] = spaces.map(({ result }) => (result < 0 ? (abi.errnoName(result) ?? result) : 'ok'))
      const space = spaces[0]!.space
      const own = kernel.memory.platform.machineFrame(page(kernel).pfn)
      // A gigabyte apart: two table pages for each, at least.
      let mapped = 0
      let error = 0
      for (let i = 1; i < 300 && error === 0; i++) {
        const io_address = BigInt(i) * 2n ** 30n
        const { list } = listOf(kernel, abi.iommu_map_element, [
          { gfn: BigInt(own), pages: 1n, access: ACCESS.READ, io_address },
        ])
        error = iommuOp(kernel, IOMMU_OP.map, abi.iommu_map, { space, list }).result
        if (error === 0) mapped++
      }
      seen['sparse'] = abi.errnoName(error)
      seen['sparse pages'] = mapped > 5 && mapped < 60
      seen['table pages'] = usage().tablePages <= 100
      seen['the hypervisor gave no more'] = free - system.hypervisor.snapshot().freeFrames < 110
      iommuOp(kernel, IOMMU_OP.unmap, abi.iommu_unmap, { space, flags: abi.UNMAP_FLAGS.ALL })
      // Its tables go with it; the next one is filled densely, with lists of which at last only the beginning fits.
      iommuOp(kernel, IOMMU_OP.destroy_space, abi.iommu_destroy_space, { space })
      const second = spaces[1]!.space
      seen['after unmap'] = [usage().pinned, Number(iommuOp(kernel, IOMMU_OP.query, abi.iommu_query).value.pinned)]
      const element = { gfn: BigInt(own), pages: 1n, access: ACCESS.READ, flags: abi.MAP_ELEMENT_FLAGS.ANY }
      const done: number[] = []
      let last = 0
      while (last === 0) {
        const { list, buffer } = listOf(
          kernel,
          abi.iommu_map_element,
          Array.from({ length: 80 }, () => element),
        )
        const { result, value } = iommuOp(kernel, IOMMU_OP.map, abi.iommu_map, { space: second, list })
        done.push(value.done)
        last = result
        kernel.memory.free(buffer)
      }
      seen['dense'] = [abi.errnoName(last), done.reduce((sum, each) => sum + each, 0), done.at(-1)]
      // All or nothing: the list that does not fit leaves no trace.
      const { list } = listOf(
        kernel,
        abi.iommu_map_element,
        Array.from({ length: 40 }, () => element),
      )
      const before = usage()
      seen['atomic'] = [
        abi.errnoName(
          iommuOp(kernel, IOMMU_OP.map, abi.iommu_map, { space: second, list, flags: abi.MAP_FLAGS.ALL_OR_NOTHING })
            .result,
        ),
        usage().pinned - before.pinned,
      ]
      for (const each of spaces)
        if (each.result === 0) iommuOp(kernel, IOMMU_OP.destroy_space, abi.iommu_destroy_space, { space: each.space })
      seen['after destroy'] = [usage().pinned, usage().spaces]
    },
  })
  expect(seen).toEqual({
    spaces: ['ok', 'ok', 'ok', 'ENOSPC', 'ENOSPC', 'ENOSPC'],
    sparse: 'ENOMEM',
    'sparse pages': true,
    'table pages': true,
    'the hypervisor gave no more': true,
    'after unmap': [0, 0],
    dense: ['ENOBUFS', 500, 500 % 80],
    atomic: ['ENOBUFS', 0],
    'after destroy': [0, 0],
  })
  await expectUnharmed(played)
})

test('memory ends at the domain’s allowance; what it gave back it may have again', async () => {
  const seen: Record<string, number> = {}
  const played = await play({
    attacker: async (kernel) => {
      const list = page(kernel)
      const reservation = { extent_start: BigInt(list.address()), nr_extents: 16n, domid: abi.DOMID.SELF }
      const ask = (name: string, subop: number, more: object = {}): void => {
        seen[name] = call(kernel, 'memory_op', subop, abi.xen_memory_reservation, { ...reservation, ...more }).result
      }
      const own = Array.from({ length: 16 }, () => page(kernel))
      const fill = (value: (i: number) => number): void => {
        for (let i = 0; i < 16; i++) {
          list.write32(8 * i, value(i))
          list.write32(8 * i + 4, 0)
        }
      }
      const slot = kernel.memory.slots.allocate(64)
      fill((i) => slot + i)
      ask('one more at once', XENMEM.populate_physmap)
      fill((i) => kernel.memory.platform.machineFrame(own[i]!.pfn))
      ask('give 16 back', XENMEM.decrease_reservation)
      fill((i) => slot + 16 + i)
      ask('16 again', XENMEM.populate_physmap)
      fill((i) => slot + 32 + i)
      ask('16 more', XENMEM.populate_physmap)
      ask('2^40 extents', XENMEM.increase_reservation, { extent_start: 0n, nr_extents: 2n ** 40n })
      ask('an extent of 2^31 frames', XENMEM.increase_reservation, { extent_order: 31 })
      ask('an extent of 2^9 frames', XENMEM.increase_reservation, { extent_order: 9 })
      // Pages that cannot be written get no frames.
      ask('a list beyond its memory', XENMEM.populate_physmap, { extent_start: 2n ** 42n })
    },
  })
  // pfn 0 is empty in a new domain: one frame is left of its allowance.
  expect(seen).toEqual({
    'one more at once': 1,
    'give 16 back': 16,
    '16 again': 16,
    '16 more': 0,
    '2^40 extents': 0,
    'an extent of 2^31 frames': 0,
    'an extent of 2^9 frames': 0,
    'a list beyond its memory': 0,
  })
  await expectUnharmed(played)
})
