import * as abi from '@iospace/abi'
import { expect, test } from 'vitest'
import { call, raw as rawCall } from '../../support/calls.ts'
import { page } from '../../support/raw-frontend.ts'
import { Rogue } from '../../support/rogue.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const { XENMEM } = abi

test('memory that was somebody else’s comes without what was in it (I15, XSA-100)', async () => {
  const FRAMES = 600
  let empty = false
  let gone: () => boolean = () => false
  const secretive = new Set<number>()
  const seen = { given: 0, got: 0, reused: 0, dirty: 0 }
  const played = await play({
    prepare: ({ hypervisor }) => (gone = () => hypervisor.view(Domid.neighbour) === undefined),
    // When the attacker has room: fills all its memory with a secret, and dies.
    neighbour: async (kernel) => {
      while (!empty) await kernel.sleep(100e3)
      const secret = new Uint8Array(4096).fill(0x5e)
      for (let each = kernel.memory.allocate(4096); each !== null; each = kernel.memory.allocate(4096)) {
        each.write(0, secret)
        secretive.add(kernel.memory.platform.machineFrame(each.pfn))
      }
    },
    attacker: async (kernel) => {
      const list = page(kernel)
      const own = Array.from({ length: FRAMES }, () => page(kernel).pfn)
      const ask = (subop: number, value: number): number => {
        list.write32(0, value)
        list.write32(4, 0)
        const reservation = { extent_start: BigInt(list.address()), nr_extents: 1n, domid: abi.DOMID.SELF }
        return call(kernel, 'memory_op', subop, abi.xen_memory_reservation, reservation).result
      }
      for (const pfn of own) seen.given += ask(XENMEM.decrease_reservation, kernel.memory.platform.machineFrame(pfn))
      empty = true
      while (!gone()) await kernel.sleep(100e3)
      for (const pfn of own) {
        seen.got += ask(XENMEM.populate_physmap, pfn)
        if (secretive.has(kernel.memory.platform.machineFrame(pfn))) seen.reused++
        if (
          kernel.memory
            .window(pfn)
            .read(0, new Uint8Array(4096))
            .some((byte) => byte !== 0)
        )
          seen.dirty++
      }
    },
  })
  expect(seen).toEqual({ given: FRAMES, got: FRAMES, reused: expect.any(Number), dirty: 0 })
  // Most of them were the neighbour's: so there was something to be found.
  expect(seen.reused).toBeGreaterThan(FRAMES / 2)
  await expectUnharmed(played, { readings: 'any' })
})

test('an answer writes what it defines and no other byte: paddings, IN fields, what lies behind (I15, XSA-122)', async () => {
  const touched: string[] = []
  let looked = 0
  const played = await play({
    rogue: true,
    attacker: async (kernel) => {
      const buffer = page(kernel)
      // Every sub-op with an argument of its own size, everything else zero or all ones: whatever it answers, IN fields stay.
      for (const { number, name, struct } of abi.IOMMU_SUBOPS) {
        for (const fill of [0x00, 0xff]) {
          buffer.fill(fill)
          buffer.write32(0, struct.size)
          buffer.write32(4, 0)
          buffer.write16(8, abi.DOMID.SELF)
          for (const { offset, type } of struct.layout.fields)
            if (type.kind === 'pad') buffer.fill(0, offset, type.size)
          const before = buffer.read(0, new Uint8Array(4096))
          rawCall(kernel, 'iommu_op', number, buffer.address())
          const after = buffer.read(0, new Uint8Array(4096))
          looked++
          const pads = struct.layout.fields
            .filter(({ type }) => type.kind === 'pad')
            .flatMap(({ offset, type }) => Array.from({ length: type.size }, (_, i) => offset + i))
          const forbidden = [...Array.from({ length: 10 }, (_, i) => i), ...pads]
          for (const at of forbidden) if (after[at] !== before[at]) touched.push(`${name}: byte ${at}`)
          for (let at = struct.size; at < 4096; at++)
            if (after[at] !== before[at]) touched.push(`${name}: byte ${at} behind it`)
        }
      }
    },
  })
  expect(touched).toEqual([])
  expect(looked).toBe(2 * abi.IOMMU_SUBOPS.length)
  await expectUnharmed(played)
})

test('a device comes to its next owner reset: nothing of what it fetched for the last one is in it (I9)', async () => {
  const seen: number[] = []
  const played = await play({
    rogue: true,
    prepare: (built) => {
      // What a previous owner left, before dom0 gives the device away.
      const { mmio, pci } = built.machine
      const bar = pci.barAddress(pci.at(0x200)!, 0)
      pci.configWrite(0x200, 4, 2, 6)
      for (let at = 0; at < 64; at += 4) mmio.write32(bar + 0x1000 + at, 0x5ec7e700 + at)
      seen.push(mmio.read32(bar + 0x1000))
    },
    attacker: async (kernel) => {
      const { registers } = await Rogue.bind(kernel)
      for (let at = 0; at < 64; at += 4) seen.push(registers.read32(0x1000 + at))
    },
  })
  expect(seen[0]).toBe(0x5ec7e700)
  expect(seen.slice(1)).toEqual(Array.from({ length: 16 }, () => 0))
  await expectUnharmed(played)
})
