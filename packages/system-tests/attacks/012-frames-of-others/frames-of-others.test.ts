import * as abi from '@iospace/abi'
import type { System } from '@iospace/lab'
import type { Kernel } from '@iospace/linux'
import { DmaOutcome } from '@iospace/machine'
import { expect, test } from 'vitest'
import { call, iommuOp, listOf, raw as rawCall } from '../../support/calls.ts'
import { page } from '../../support/raw-frontend.ts'
import { mapGrant } from '../../support/raw-grants.ts'
import { Rogue } from '../../support/rogue.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const { IOMMU_OP, XENMEM, ACCESS, Errno } = abi
const ROGUE = 0x200
const BOTH = ACCESS.READ | ACCESS.WRITE
const ANY = abi.MAP_ELEMENT_FLAGS.ANY

/** Frames that are not the attacker's, by what they are. */
function targets(system: System): [string, number][] {
  const { oracle } = system.hypervisor
  const of = (domid: number): number => oracle.addressOf(domid, abi.START_INFO_PFN) / 4096
  const free = system.machine.memory
  let spare = 0
  while (oracle.frame(free.frameAt(spare))?.owner !== -1) spare++
  const tables = oracle.iommuFrames()
  return [
    ['dom0', of(Domid.dom0)],
    ['the driver domain', of(Domid.driver)],
    ['the neighbour', of(Domid.neighbour)],
    ['the hypervisor', oracle.scratchAddress() / 4096],
    ['the root table', tables[0]!],
    ['a page table', tables.at(-1)!],
    ['frame 0', 0],
    ['a free frame', free.frameAt(spare)],
    ['the hole below 4 GiB', 0xc_0000],
    ['a register', 0xe_0000],
    ['the interrupt window', 0xf_ee00],
    ['beyond all memory', 0x7fff_ffff],
  ]
}

/** A space of the attacker's own with its device in it. */
function ownSpace(kernel: Kernel): number {
  const devices = [ROGUE, ...abi.iommu_create_space.zero().devices.slice(1)]
  const { result, value } = iommuOp(kernel, IOMMU_OP.create_space, abi.iommu_create_space, { device_count: 1, devices })
  if (result !== 0) throw new Error(`no space: ${abi.errnoName(result)}`)
  const attached = iommuOp(kernel, IOMMU_OP.attach_device, abi.iommu_attach_device, {
    space: value.space,
    device: ROGUE,
  })
  if (attached.result !== 0) throw new Error(`not attached: ${abi.errnoName(attached.result)}`)
  return value.space
}

/** Maps `pages` frames from `gfn` on; result, and the address. */
function map(
  kernel: Kernel,
  space: number,
  gfn: number | bigint,
  pages = 1n,
  access: number = BOTH,
  more: object = {},
): [number, bigint] {
  const { list, read } = listOf(kernel, abi.iommu_map_element, [
    { gfn: BigInt(gfn), pages, access, flags: ANY, ...more },
  ])
  const { result } = iommuOp(kernel, IOMMU_OP.map, abi.iommu_map, { space, list })
  return [result, read()[0]!.io_address]
}

test('an I/O space takes frames of its domain and no others, in whatever range they are named (I1, I2)', async () => {
  const answers: [string, string | number][] = []
  const dma: number[] = []
  let system!: System
  const played = await play({
    rogue: true,
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      const rogue = await Rogue.bind(kernel)
      const space = ownSpace(kernel)
      const note = (name: string, [result]: [number, bigint]): void =>
        void answers.push([name, abi.errnoName(result) ?? result])
      const own = page(kernel)
      const mine = kernel.memory.platform.machineFrame(own.pfn)
      for (const [name, mfn] of targets(system)) {
        for (const access of [ACCESS.READ, ACCESS.WRITE, BOTH])
          note(`${name}, access ${access}`, map(kernel, space, mfn, 1n, access))
        // The range is its own frame first, and then whatever lies behind it, up to the target.
        if (mfn > mine) note(`from its own to ${name}`, map(kernel, space, mine, BigInt(mfn - mine + 1)))
      }
      note('2^52 frames', map(kernel, space, mine, 2n ** 52n))
      note('2^64 − 1 frames', map(kernel, space, mine, 2n ** 64n - 1n))
      note('frame 2^52', map(kernel, space, 2n ** 52n))
      note('frame 2^64 − 1', map(kernel, space, 2n ** 64n - 1n))
      note(
        'its own, in the interrupt window',
        map(kernel, space, mine, 1n, BOTH, { flags: 0, io_address: 0xfee0_0000n }),
      )
      note(
        'its own, across the interrupt window',
        map(kernel, space, mine, 0x100n, BOTH, { flags: 0, io_address: 0xfedf_0000n }),
      )
      note('its own, as a register', map(kernel, space, mine, 1n, ACCESS.READ | ACCESS.MMIO))
      note('the default space, which is a mirror', map(kernel, 0, mine))
      note('a space of nobody', map(kernel, 77, mine))
      // Its own frame, and what its device reaches.
      const [good, address] = map(kernel, space, mine)
      answers.push(['its own', good])
      own.write(0, Uint8Array.of(1, 2, 3, 4))
      const seen = new Uint8Array(4)
      dma.push(rogue.read(address, seen), ...seen)
      for (const [, mfn] of targets(system)) dma.push(rogue.read(mfn * 4096, seen))
      // Up to here the answers; the mapping goes with the domain.
    },
  })
  expect(dma.slice(0, 5)).toEqual([DmaOutcome.translated, 1, 2, 3, 4])
  // Reads of the interrupt window are no memory's: nobody answers. Everything else is blocked.
  const { blocked, unclaimed } = DmaOutcome
  expect(dma.slice(5)).toEqual(targets(system).map(([name]) => (name === 'the interrupt window' ? unclaimed : blocked)))
  const odd = answers.filter(([, answer]) => answer !== 'ENXIO')
  expect(odd).toEqual([
    ['its own, in the interrupt window', 'EADDRNOTAVAIL'],
    ['its own, across the interrupt window', 'EADDRNOTAVAIL'],
    ['its own, as a register', 'EOPNOTSUPP'],
    ['the default space, which is a mirror', 'EPERM'],
    ['a space of nobody', 'ENOENT'],
    ['its own', 0],
  ])
  expect(answers.length).toBeGreaterThan(45)
  await expectUnharmed(played)
})

test('frames of others cannot be given back, exchanged, taken as a fault ring or mapped as foreign pages (I17, XSA-212)', async () => {
  const answers: [string, number][] = []
  let system!: System
  const played = await play({
    rogue: true,
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      const list = page(kernel)
      const mine = kernel.memory.platform.machineFrame(page(kernel).pfn)
      const reservation = {
        ...abi.xen_memory_reservation.zero(),
        extent_start: BigInt(list.address()),
        nr_extents: 1n,
        domid: abi.DOMID.SELF,
      }
      for (const [name, mfn] of targets(system)) {
        list.write32(0, mfn)
        answers.push([
          `give back ${name}`,
          call(kernel, 'memory_op', XENMEM.decrease_reservation, abi.xen_memory_reservation, reservation).result,
        ])
        const out = { ...reservation, extent_start: BigInt(list.address(8)) }
        answers.push([
          `exchange ${name}`,
          call(kernel, 'memory_op', XENMEM.exchange, abi.xen_memory_exchange, { in: reservation, out }).result,
        ])
        for (const foreign of [Domid.dom0, Domid.driver, Domid.neighbour, Domid.attacker, 77]) {
          const pointer = (at: number): bigint => BigInt(list.address(at))
          list.write32(8, kernel.memory.slots.allocate())
          const batch = {
            domid: abi.DOMID.SELF,
            space: abi.XENMAPSPACE.gmfn_foreign,
            size: 1,
            foreign_domid: foreign,
            idxs: pointer(0),
            gpfns: pointer(8),
            errs: pointer(16),
          }
          answers.push([
            `${name} as a page of ${foreign}`,
            call(kernel, 'memory_op', XENMEM.add_to_physmap_batch, abi.xen_add_to_physmap_batch, batch).result,
          ])
        }
        const single = {
          domid: abi.DOMID.SELF,
          space: abi.XENMAPSPACE.gmfn_foreign,
          idx: BigInt(mfn),
          gpfn: BigInt(kernel.memory.slots.allocate()),
        }
        answers.push([
          `${name} as a foreign page`,
          call(kernel, 'memory_op', XENMEM.add_to_physmap, abi.xen_add_to_physmap, single).result,
        ])
        list.write32(64, mfn)
        list.write32(68, 0)
        const gfns = { array: pointer64(list.address(64)), count: 1, stride: 8 }
        answers.push([
          `${name} as records`,
          iommuOp(kernel, IOMMU_OP.set_fault_ring, abi.iommu_set_fault_ring, { control_gfn: BigInt(mine), gfns })
            .result,
        ])
        list.write32(64, mine)
        answers.push([
          `${name} as a control page`,
          iommuOp(kernel, IOMMU_OP.set_fault_ring, abi.iommu_set_fault_ring, { control_gfn: BigInt(mfn), gfns }).result,
        ])
      }
      // The cursor is the hypervisor's (XSA-212): a guest that brings one is refused.
      list.write32(0, mine)
      answers.push([
        'exchange with a cursor',
        call(kernel, 'memory_op', XENMEM.exchange, abi.xen_memory_exchange, {
          in: reservation,
          out: reservation,
          nr_exchanged: 1n,
        }).result,
      ])
    },
  })
  const allowed = (name: string): number[] => {
    if (name.startsWith('give back')) return [0]
    if (name.startsWith('exchange')) return [-Errno.EINVAL]
    return name.includes('page of') || name.includes('foreign') ? [-Errno.EPERM] : [-Errno.ENXIO]
  }
  expect(answers.filter(([name, result]) => !allowed(name).includes(result))).toEqual([])
  expect(answers).toHaveLength(12 * 10 + 1)
  await expectUnharmed(played)
})

test('an argument lies in the caller’s own pages; nothing is written through a read-only one (EFAULT means that nothing happened)', async () => {
  const answers: [string, number][] = []
  const changed: number[] = []
  const played = await play({
    attacker: async (kernel) => {
      const query = (name: string, address: number): void =>
        void answers.push([name, rawCall(kernel, 'iommu_op', IOMMU_OP.query, address)])
      const space = kernel.memory.platform.pages
      query('pfn 0, which is empty', 0)
      query('an empty slot', (space - 1) * 4096)
      query('the end of its numbering', space * 4096)
      query('across the end', space * 4096 - 8)
      query('2^43', 2 ** 43)
      query('2^53', 2 ** 53)
      query('2^63', 2 ** 63)
      query('2^64 − 8', 2 ** 64 - 8)
      query('−8', -8)
      query('no number', Number.NaN)
      query('infinite', Infinity)
      // A page of its own, granted to itself read-only and mapped once more.
      const own = page(kernel)
      own.write32(0, abi.iommu_query.size)
      own.write16(8, abi.DOMID.SELF)
      const ref = kernel.grants.grantAccess(Domid.attacker, own.pfn, true)
      const { status, pfn } = mapGrant(kernel, Domid.attacker, ref, {
        flags: abi.GNTMAP.host_map | abi.GNTMAP.readonly,
      })
      answers.push(['map it read-only', status])
      query('a read-only page', pfn * 4096)
      const alloc = rawCall(kernel, 'event_channel_op', abi.EVTCHNOP.alloc_unbound, pfn * 4096)
      answers.push(['a port into a read-only page', alloc])
      const bytes = own.read(0, new Uint8Array(4096))
      changed.push(...bytes.subarray(12).filter((byte) => byte !== 0))
      query('its own page', own.address())
      changed.push(own.read32(12) === abi.IOMMU_MAGIC ? 0 : 1)
    },
  })
  expect(answers.filter(([, result]) => result !== -Errno.EFAULT)).toEqual([
    ['map it read-only', 0],
    ['its own page', 0],
  ])
  expect(changed).toEqual([0])
  await expectUnharmed(played)
})

const pointer64 = (address: number): bigint => BigInt(address)
