import { GTF, START_INFO_PFN } from '@iospace/abi'
import { expect, test } from 'vitest'
import { page, RawFrontend, type Segment } from '../../support/raw-frontend.ts'
import { RawGrants } from '../../support/raw-grants.ts'
import { Domid, play, type Dma } from '../../support/scene.ts'
import type { System } from '@iospace/lab'
import { expectUnharmed } from '../../support/unharmed.ts'

const { permit_access, accept_transfer, transitive, readonly, sub_page } = GTF
/** References far from those that the kernel hands out. */
const RAW_REF = 400

const whole = (ref: number): Segment => ({ ref, first: 0, last: 7 })

test.each(['xen', 'swiotlb', 'nommu'] as const)(
  'a request with a grant that cannot be used is an error and nothing else (I18, I12), --dma %s',
  async (dma: Dma) => {
    const statuses: Record<string, number | undefined> = {}
    const held: boolean[] = []
    let system!: System
    let before: Uint8Array[] = []
    const targets = (): number[] => {
      const { oracle } = system.hypervisor
      return [
        ...[Domid.dom0, Domid.driver, Domid.neighbour].map((domid) => oracle.addressOf(domid, START_INFO_PFN)),
        oracle.scratchAddress(),
        oracle.iommuFrames().at(-1)! * 4096,
      ]
    }
    // Of the domains' pages, which nobody writes; the hypervisor's live.
    const content = (): Uint8Array[] =>
      targets()
        .slice(0, 3)
        .map((address) => system.oracle.snapshot(address, 4096))
    const played = await play({
      dma,
      prepare: (built) => (system = built),
      attacker: async (kernel) => {
        const raw = await RawFrontend.open(kernel)
        const grants = new RawGrants(kernel)
        const ask = async (name: string, ...segments: Segment[]) => {
          statuses[name] = (await raw.ask({ segments }))[0]?.status
        }
        /** A grant written by hand: of `frame`, with `flags`. */
        const forged = (flags: number, frame: number, domid: number = raw.backend): Segment => {
          grants.write(RAW_REF, { flags, domid, frame })
          return whole(RAW_REF)
        }
        statuses['good, before'] = (await raw.works()) ? 0 : -1
        before = content()
        const [dom0, driver, neighbour, scratch, table] = targets().map((address) => address / 4096)
        const mine = page(kernel)
        const frame = kernel.memory.platform.machineFrame(mine.pfn)

        await ask('never granted', whole(300))
        await ask('beyond the table', whole(64 * 512))
        await ask('beyond any table', whole(0xffff_ffff))
        await ask('granted to the neighbour', whole(raw.lend(false, Domid.neighbour).ref))
        await ask('granted to itself', whole(raw.lend(false, Domid.attacker).ref))
        await ask('read-only, and the disk writes', whole(raw.lend(true).ref))
        await ask('of dom0', forged(permit_access, dom0!))
        await ask('of the driver domain', forged(permit_access, driver!))
        await ask('of the neighbour', forged(permit_access, neighbour!))
        await ask('of the hypervisor', forged(permit_access, scratch!))
        await ask('of the IOMMU', forged(permit_access, table!))
        await ask('of a register', forged(permit_access, 0xe_0000))
        await ask('of no frame', forged(permit_access, 0xffff_ffff))
        await ask('a transfer', forged(accept_transfer, frame))
        await ask('transitive', forged(transitive, frame))
        await ask('invalid', forged(0, frame))
        await ask('read-only by hand', forged(permit_access | readonly, frame))
        const good = [raw.lend(), raw.lend(), raw.lend()]
        const [a, b, c] = good.map(({ ref }) => whole(ref))
        await ask('bad in the middle', a!, whole(300), b!, c!)
        await ask('bad at the end', a!, b!, whole(300))
        held.push(
          ...good.map(({ ref }) => kernel.grants.inUse(ref)),
          good.some(({ page: lent }) => lent.read8(0) !== 0),
        )
        await ask('good, a page twice', a!, a!)
        await ask('good, sub-page bit is of version 2 only', forged(permit_access | sub_page, frame))
        statuses['good, after'] = (await raw.works()) ? 0 : -1
        expect(content()).toEqual(before)
      },
    })
    const { good = [], bad = [] } = Object.groupBy(Object.entries(statuses), ([name]) =>
      name.startsWith('good') ? 'good' : 'bad',
    )
    expect(good.map(([name, status]) => [name, status])).toEqual(good.map(([name]) => [name, 0]))
    expect(bad.length).toBe(19)
    expect(bad).toEqual(bad.map(([name]) => [name, -1]))
    expect(held).toEqual([false, false, false, false])
    await expectUnharmed(played)
  },
)
