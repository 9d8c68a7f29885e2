import { Errno } from '@iospace/abi'
import { expect, test } from 'vitest'
import { RawFrontend } from '../../support/raw-frontend.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

/** In start_info the builder puts it first: the first port of every domain. */
const STORE_PORT = 1
const BURST = 1000
const BURSTS = 20

test('a storm of events does not keep the neighbour from its disk (F.3 event-channel storm, I16)', async () => {
  const seen = { sent: 0, worked: false, ports: 0, full: 0 }
  const played = await play({
    attacker: async (kernel) => {
      const raw = await RawFrontend.open(kernel)
      for (let burst = 0; burst < BURSTS; burst++) {
        for (let i = 0; i < BURST; i++) {
          const results = [kernel.events.send(raw.port), kernel.events.send(STORE_PORT)]
          if (results.every((result) => result === 0)) seen.sent++
        }
        await kernel.sleep(1000)
      }
      seen.worked = await raw.works()
      let port = 0
      for (; port >= 0; seen.ports++) port = kernel.events.allocUnbound(Domid.neighbour)
      seen.full = port
      // The xenstore connection and the ring are still there.
      seen.worked &&= (await raw.works()) && (await kernel.xenstore.read('domid')) === String(Domid.attacker)
    },
  })
  expect(seen).toEqual({ sent: BURST * BURSTS, worked: true, ports: expect.any(Number), full: -Errno.ENOSPC })
  expect(seen.ports).toBeGreaterThan(4000)
  // One upcall answers many events: dom0 did not run once for each.
  expect(played.system.books().virtualNs).toBeLessThan(60e6)
  await expectUnharmed(played)
})

test('a storm without a pause ends the attacker, who is told why (TaskHung)', async () => {
  const played = await play({
    attacker: async (kernel) => {
      const raw = await RawFrontend.open(kernel)
      for (;;) kernel.events.send(raw.port)
    },
  })
  await expectUnharmed(played, {
    crashes: ['attacker: task attacker/init ran for more than 50 ms of virtual time without waiting'],
  })
})
