import { DOMID, GTF, xen_memory_reservation, XENBUS_STATE, XENMEM } from '@iospace/abi'
import type { System } from '@iospace/lab'
import type { Kernel } from '@iospace/linux'
import { describe, expect, test } from 'vitest'
import { page, RawFrontend } from '../../support/raw-frontend.ts'
import { RawGrants } from '../../support/raw-grants.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

/** Gives the machine frame `mfn` back; how many frames went. */
function giveBack(kernel: Kernel, mfn: number): number {
  const list = page(kernel)
  list.write32(0, mfn)
  const value = {
    ...xen_memory_reservation.zero(),
    extent_start: BigInt(list.address()),
    nr_extents: 1n,
    domid: DOMID.SELF,
  }
  return kernel.hypercalls.call('memory_op', XENMEM.decrease_reservation, xen_memory_reservation, value)
}

describe.each(['xen', 'swiotlb', 'nommu'] as const)(
  'what a back-end has mapped stays what it is (I4, I18, I19), --dma %s',
  (dma) => {
    test('the grant of a connected ring is cleared and pointed elsewhere: the ring goes on in its frame', async () => {
      const seen = { worked: [false, false], closed: -1 }
      const played = await play({
        dma,
        attacker: async (kernel) => {
          const raw = await RawFrontend.open(kernel)
          seen.worked[0] = await raw.works()
          const other = kernel.memory.platform.machineFrame(page(kernel).pfn)
          new RawGrants(kernel).write(raw.ringRef, { flags: 0, domid: 0, frame: other })
          seen.worked[1] = await raw.works()
          await kernel.xenstore.write(`${raw.path}/state`, XENBUS_STATE.Closed)
          seen.closed = await raw.waitForBackend(XENBUS_STATE.Closed)
        },
      })
      expect(seen).toEqual({ worked: [true, true], closed: XENBUS_STATE.Closed })
      await expectUnharmed(played)
    })

    test('ring and data pages are given back to the hypervisor under a request: they are nobody’s until it has ended', async () => {
      const seen = { gone: 0, free: [] as boolean[], owner: [] as number[] }
      let system!: System
      const played = await play({
        dma,
        prepare: (built) => (system = built),
        attacker: async (kernel) => {
          const raw = await RawFrontend.open(kernel)
          await raw.works()
          const lent = Array.from({ length: 11 }, () => raw.lend())
          const frames = [...lent.map(({ page: each }) => each), raw.ring].map((each) =>
            kernel.memory.platform.machineFrame(each.pfn),
          )
          raw.put(raw.produced, { segments: lent.map(({ ref }) => ({ ref, first: 0, last: 7 })) })
          raw.publish(++raw.produced)
          // The request has reached the controller, and its bytes have not arrived: they take tens of µs.
          await kernel.sleep(8000)
          for (const frame of frames) seen.gone += giveBack(kernel, frame)
          const look = (): void => {
            const states = frames.map((frame) => system.hypervisor.oracle.frame(frame)!)
            seen.free.push(states.some(({ owner }) => owner < 0))
            seen.owner.push(...new Set(states.map(({ owner }) => owner)))
          }
          look()
          // Somebody who asks for memory now does not get them.
          const fresh = page(kernel)
          fresh.write32(0, 0xffff_ffff)
          const more = {
            ...xen_memory_reservation.zero(),
            extent_start: BigInt(fresh.address()),
            nr_extents: 1n,
            domid: DOMID.SELF,
          }
          kernel.hypercalls.call('memory_op', XENMEM.increase_reservation, xen_memory_reservation, more)
          expect(frames).not.toContain(fresh.read32(0))
          await kernel.sleep(5e6)
        },
      })
      expect(seen).toEqual({ gone: 12, free: [false], owner: [Domid.attacker] })
      await expectUnharmed(played)
    })

    test('a data grant is cleared under a request: the request is carried out, its end clears nothing else', async () => {
      let flags = -1
      let status: number | undefined
      const played = await play({
        dma,
        attacker: async (kernel) => {
          const raw = await RawFrontend.open(kernel)
          const grants = new RawGrants(kernel)
          const { ref } = raw.lend()
          raw.put(raw.produced, { segments: [{ ref, first: 0, last: 7 }] })
          raw.publish(++raw.produced)
          await kernel.sleep(8000)
          // A new grant of the same reference, to somebody else, while the old one is in use.
          grants.write(ref, { flags: GTF.permit_access, domid: Domid.neighbour, frame: 0 })
          status = (await raw.responses(1))[0]?.status
          flags = grants.read(ref).flags
        },
      })
      expect([status, flags]).toEqual([0, GTF.permit_access])
      await expectUnharmed(played)
    })
  },
)
