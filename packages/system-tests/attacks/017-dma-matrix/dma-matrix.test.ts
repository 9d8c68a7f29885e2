import * as abi from '@iospace/abi'
import type { System } from '@iospace/lab'
import type { Kernel, KernelBuffer } from '@iospace/linux'
import { DmaOutcome, NoTranslation } from '@iospace/machine'
import { describe, expect, test } from 'vitest'
import { call, iommuOp, listOf } from '../../support/calls.ts'
import { FaultRing } from '../../support/fault-ring.ts'
import { page } from '../../support/raw-frontend.ts'
import { mapGrant, unmapGrant } from '../../support/raw-grants.ts'
import { Rogue } from '../../support/rogue.ts'
import { confines, type Iommu } from '../../support/reach.ts'
import { Domid, play, type Dma } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const { IOMMU_OP, XENMEM, ACCESS } = abi
const ROGUE = 0x200
const LENGTH = 64
/** Virtual ns in which a fault arrives. */
const FAULT_TIME = 1e6

interface Row {
  readonly name: string
  readonly control: boolean
  readonly read: number
  readonly write: number
  readonly stolen: boolean
  readonly changed: boolean
  /** Faults of the reading and of the writing that arrived in the guest's ring. */
  readonly faults: readonly [number, number]
}

/** What an attacker has: a device, a ring for faults, and the host's knowledge of where things lie. */
class Attack {
  readonly kernel: Kernel
  readonly system: System
  readonly rogue: Rogue
  readonly ring: FaultRing | null
  readonly rows: Row[] = []

  constructor(kernel: Kernel, system: System, rogue: Rogue) {
    this.kernel = kernel
    this.system = system
    this.rogue = rogue
    this.ring = FaultRing.open(kernel)
  }

  frame(buffer: KernelBuffer): number {
    return this.kernel.memory.platform.machineFrame(buffer.pfn)
  }

  /** The device reads what the CPU wrote into `buffer` and the other way round, at bus address `address`. */
  legal(address: number | bigint, buffer: KernelBuffer): boolean {
    const [out, back] = [new Uint8Array(LENGTH).fill(0x11), new Uint8Array(LENGTH).fill(0x22)]
    const seen = new Uint8Array(LENGTH)
    buffer.write(0, out)
    if (this.rogue.read(address, seen) <= 0 || !equal(seen, out)) return false
    return this.rogue.write(address, back) > 0 && equal(buffer.read(0, seen), back)
  }

  /** A fresh page of its own, used legally. */
  ownWorks(): boolean {
    const own = page(this.kernel)
    return this.legal(this.frame(own) * 4096, own)
  }

  /** Reads and overwrites machine memory at `address`, looks from outside, and puts the bytes back. */
  async on(name: string, address: number, control: boolean = this.ownWorks()): Promise<void> {
    const { oracle } = this.system
    this.ring?.take()
    const before = oracle.snapshot(address, LENGTH)
    const seen = new Uint8Array(LENGTH)
    const read = this.rogue.read(address, seen)
    const write = this.rogue.write(
      address,
      before.map((byte) => byte ^ 0x5a),
    )
    const changed = !equal(oracle.snapshot(address, LENGTH), before)
    oracle.restore(address, before)
    await this.kernel.sleep(FAULT_TIME)
    const mine = (this.ring?.take() ?? []).filter(
      ({ ioAddress, device }) => ioAddress === BigInt(address - (address % 4096)) && device === ROGUE,
    )
    const faults = [mine.filter((fault) => !fault.write).length, mine.filter((fault) => fault.write).length] as const
    this.rows.push({ name, control, read, write, stolen: read > 0 && equal(seen, before), changed, faults })
  }
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, i) => byte === b[i])

/** Gives the frame of `buffer` back to the hypervisor. */
function giveBack(kernel: Kernel, mfn: number): void {
  const list = page(kernel)
  list.write32(0, mfn)
  const value = { extent_start: BigInt(list.address()), nr_extents: 1n, domid: abi.DOMID.SELF }
  call(kernel, 'memory_op', XENMEM.decrease_reservation, abi.xen_memory_reservation, value)
}

/** Every target, one after the other. */
async function attackAll(attack: Attack): Promise<void> {
  const { kernel, system } = attack
  const { oracle } = system.hypervisor
  for (const [name, domid] of Object.entries({
    dom0: Domid.dom0,
    'the driver domain': Domid.driver,
    'the neighbour': Domid.neighbour,
  })) {
    await attack.on(name, oracle.addressOf(domid, abi.START_INFO_PFN))
  }
  await attack.on('the hypervisor', oracle.scratchAddress())
  const tables = oracle.iommuFrames()
  if (tables.length > 0) {
    await attack.on('the root table', tables[0]! * 4096)
    await attack.on('a page table', tables.at(-1)! * 4096)
  }
  // A page lent by dom0: while it is mapped the device may use it, afterwards not.
  const ref = (await kernel.xenstore.readNumber('lent/ref'))!
  const lent = mapGrant(kernel, Domid.dom0, ref)
  const address = kernel.memory.platform.machineFrame(lent.pfn) * 4096
  const whileLent = attack.legal(address, kernel.memory.window(lent.pfn))
  unmapGrant(kernel, lent.handle, lent.pfn)
  await attack.on('an ended grant', address, whileLent)
  // A page of its own, which the device has used, given back to the hypervisor.
  const own = page(kernel)
  const mfn = attack.frame(own)
  const asOwn = attack.legal(mfn * 4096, own)
  giveBack(kernel, mfn)
  await attack.on('memory given back', mfn * 4096, asOwn)
}

interface Configuration {
  readonly dma: Dma
  readonly iommu: Iommu
}

const CONFIGURATIONS: readonly Configuration[] = [
  { dma: 'xen', iommu: 'vtd' },
  { dma: 'swiotlb', iommu: 'vtd' },
  { dma: 'nommu', iommu: 'vtd' },
  { dma: 'xen', iommu: 'amdvi' },
  { dma: 'nommu', iommu: 'amdvi' },
  { dma: 'xen', iommu: 'calgary' },
  { dma: 'nommu', iommu: 'calgary' },
  { dma: 'xen', iommu: 'gart' },
  { dma: 'swiotlb', iommu: 'none' },
  { dma: 'nommu', iommu: 'none' },
]

/** Plays the attacks; their rows. */
async function matrix(configuration: Configuration, prepare: (system: System) => void = () => undefined) {
  let attack: Attack | null = null
  let system!: System
  const played = await play({
    ...configuration,
    rogue: true,
    prepare: (built) => {
      system = built
      prepare(built)
    },
    attacker: async (kernel) => {
      attack = new Attack(kernel, system, await Rogue.bind(kernel))
      await attackAll(attack)
    },
  })
  return { played, rows: attack!.rows as readonly Row[], ring: attack!.ring !== null }
}

describe.each(CONFIGURATIONS)('--dma $dma --iommu $iommu', (configuration) => {
  const { iommu } = configuration
  const blocks = confines(iommu)
  // A Calgary records neither address nor kind.
  const told = blocks && iommu !== 'calgary'
  test(
    blocks
      ? `every attack is blocked and changes nothing${told ? ', and is told to the guest twice: for its read and its write' : ''}`
      : 'every attack succeeds: nothing stands in its way',
    async () => {
      const { played, rows, ring } = await matrix(configuration)
      const { blocked, untranslated } = DmaOutcome
      const names = [
        'dom0',
        'the driver domain',
        'the neighbour',
        'the hypervisor',
        ...(iommu === 'none' ? [] : ['the root table', 'a page table']),
        'an ended grant',
        'memory given back',
      ]
      expect(rows).toEqual(
        names.map((name) =>
          blocks
            ? {
                name,
                control: true,
                read: blocked,
                write: blocked,
                stolen: false,
                changed: false,
                faults: told ? [1, 1] : [0, 0],
              }
            : {
                name,
                control: true,
                read: untranslated,
                write: untranslated,
                stolen: true,
                changed: true,
                faults: [0, 0],
              },
        ),
      )
      expect(ring).toBe(iommu !== 'none')
      await expectUnharmed(played)
    },
  )
})

test('without the unit in the way the same attacks succeed, though the hypervisor believes in it: it is the IOMMU that blocks', async () => {
  const { rows } = await matrix({ dma: 'swiotlb', iommu: 'vtd' }, ({ machine }) => {
    machine.pci.translator = new NoTranslation(machine.memory, machine.interrupts)
  })
  expect(rows.map(({ name }) => name)).toContain('the root table')
  expect(rows).toEqual(
    rows.map(({ name }) => ({
      name,
      control: true,
      read: DmaOutcome.untranslated,
      write: DmaOutcome.untranslated,
      stolen: true,
      changed: true,
      faults: [0, 0],
    })),
  )
})

test('a device reaches no further than its mapping: the next page, other rights, other widths, the moment after', async () => {
  const seen: Record<string, unknown> = {}
  let system!: System
  const played = await play({
    rogue: true,
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      const attack = new Attack(kernel, system, await Rogue.bind(kernel))
      const { rogue } = attack
      const bytes = new Uint8Array(LENGTH)
      // Mirror: machine addresses. A transfer that begins in an own page and runs into a frame of somebody else's.
      const owned = new Set(system.hypervisor.oracle.framesOf(Domid.attacker))
      const edge = [...owned].find((mfn) => !owned.has(mfn + 1))!
      seen['across the end, read'] = rogue.read(edge * 4096 + 4096 - 32, bytes)
      seen['across the end, write'] = rogue.write(edge * 4096 + 4096 - 32, bytes)
      for (const address of [2n ** 39n, 2n ** 48n, 2n ** 57n, 2n ** 63n, 2n ** 64n - 64n, 2n ** 64n - 32n]) {
        const name = `at 2^${address.toString(2).length - 1}${address > 2n ** 63n ? '…' : ''}`
        seen[name] = [rogue.read(address, bytes), rogue.write(address, bytes)]
      }
      // A space of its own: nothing but what it maps.
      const devices = [ROGUE, ...abi.iommu_create_space.zero().devices.slice(1)]
      const { space } = iommuOp(kernel, IOMMU_OP.create_space, abi.iommu_create_space, {
        device_count: 1,
        devices,
      }).value
      const own = page(kernel)
      const mfn = attack.frame(own)
      seen['in the mirror'] = attack.legal(mfn * 4096, own)
      iommuOp(kernel, IOMMU_OP.attach_device, abi.iommu_attach_device, { space, device: ROGUE })
      seen['the mirror’s address in the new space'] = rogue.read(mfn * 4096, bytes)
      const map = (access: number): bigint => {
        const { list, read } = listOf(kernel, abi.iommu_map_element, [
          { gfn: BigInt(mfn), pages: 1n, access, flags: abi.MAP_ELEMENT_FLAGS.ANY },
        ])
        iommuOp(kernel, IOMMU_OP.map, abi.iommu_map, { space, list })
        return read()[0]!.io_address
      }
      const [readable, writable, both] = [map(ACCESS.READ), map(ACCESS.WRITE), map(ACCESS.READ | ACCESS.WRITE)]
      seen['a readable page'] = [rogue.read(readable, bytes) > 0, rogue.write(readable, bytes)]
      seen['a writable page'] = [rogue.read(writable, bytes), rogue.write(writable, bytes) > 0]
      seen['both'] = attack.legal(both, own)
      seen['page 0 of the space'] = rogue.read(0, bytes)
      const { list } = listOf(kernel, abi.iommu_unmap_element, [{ io_address: both, pages: 1n }])
      iommuOp(kernel, IOMMU_OP.unmap, abi.iommu_unmap, { space, list })
      seen['the moment after unmap'] = [rogue.read(both, bytes), rogue.write(both, bytes)]
      seen['what was not unmapped'] = rogue.read(readable, bytes) > 0
      iommuOp(kernel, IOMMU_OP.detach_device, abi.iommu_detach_device, { device: ROGUE })
      seen['the moment after detach'] = rogue.read(readable, bytes)
      iommuOp(kernel, IOMMU_OP.attach_device, abi.iommu_attach_device, { space, device: ROGUE })
      seen['attached again'] = rogue.read(readable, bytes) > 0
      iommuOp(kernel, IOMMU_OP.destroy_space, abi.iommu_destroy_space, { space, flags: abi.DESTROY_SPACE_FLAGS.DETACH })
      seen['the moment after destroy'] = rogue.read(readable, bytes)
    },
  })
  const { blocked } = DmaOutcome
  expect(seen).toEqual({
    'across the end, read': blocked,
    'across the end, write': blocked,
    'at 2^39': [blocked, blocked],
    'at 2^48': [blocked, blocked],
    'at 2^57': [blocked, blocked],
    'at 2^63': [blocked, blocked],
    'at 2^63…': [blocked, blocked],
    'in the mirror': true,
    'the mirror’s address in the new space': blocked,
    'a readable page': [true, blocked],
    'a writable page': [blocked, true],
    both: true,
    'page 0 of the space': blocked,
    'the moment after unmap': [blocked, blocked],
    'what was not unmapped': true,
    'the moment after detach': blocked,
    'attached again': true,
    'the moment after destroy': blocked,
  })
  await expectUnharmed(played)
})

test.each(['vtd', 'amdvi', 'calgary', 'gart', 'none'] as const)(
  'a forged interrupt message arrives exactly where the unit does not remap interrupts (I21): --iommu %s',
  async (iommu) => {
    const seen: Record<string, unknown> = {}
    let system!: System
    const played = await play({
      dma: 'nommu',
      iommu,
      rogue: true,
      prepare: (built) => (system = built),
      attacker: async (kernel) => {
        const rogue = await Rogue.bind(kernel)
        const { address, data, vector } = system.oracle.targets().interrupt!
        const before = system.oracle.interrupts(vector)
        rogue.message(address, data)
        rogue.message(0xfee0_0000, vector)
        seen['arrived'] = system.oracle.interrupts(vector) - before
        // Vectors that nobody has, and those of the hypervisor's own.
        for (const other of [0x40, 0xef, 0xf0, 0xf1, 0xf2, 0xff, 0x20]) rogue.message(0xfee0_0000, other)
        seen['not a doubleword'] = rogue.write(address, new Uint8Array(8)) < 0
        await kernel.sleep(1e6)
      },
    })
    const remaps = iommu === 'vtd' || iommu === 'amdvi'
    expect(seen).toEqual({ arrived: remaps ? 0 : 2, 'not a doubleword': true })
    await expectUnharmed(played)
  },
)
