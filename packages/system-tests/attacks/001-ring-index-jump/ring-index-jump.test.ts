import { XENBUS_STATE } from '@iospace/abi'
import { describe, expect, test } from 'vitest'
import { RawFrontend } from '../../support/raw-frontend.ts'
import { play, type Dma } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

/** Honest requests before the jump, and req_prod by how many those were. */
const JUMPS: readonly [string, number, (produced: number) => number][] = [
  ['one beyond the slots', 0, () => 33],
  ['far ahead', 0, () => 0x4000_0000],
  ['half way round', 0, () => 0x8000_0000],
  ['all the way', 0, () => 0xffff_ffff],
  ['backwards by one', 3, (produced) => produced - 1],
  ['backwards to the start', 3, () => 0],
  ['beyond the slots after some requests', 3, (produced) => produced + 33],
]

describe('a request index that no ring can have ends this connection (ring.h step 6; I22)', () => {
  test.each([
    ...JUMPS.map((jump) => ['xen' as Dma, ...jump] as const),
    ...JUMPS.slice(-1).map((jump) => ['swiotlb' as Dma, ...jump] as const),
  ])('--dma %s: %s', async (dma, _name, honest, jump) => {
    const seen = { worked: true, answers: -1, state: -1, error: '' }
    const played = await play({
      dma,
      attacker: async (kernel) => {
        const raw = await RawFrontend.open(kernel)
        for (let i = 0; i < honest; i++) seen.worked &&= await raw.works()
        const before = raw.responseProducer
        raw.publish(jump(raw.produced))
        seen.state = await raw.waitForBackend(XENBUS_STATE.Closed)
        seen.error = (await raw.backendError()) ?? ''
        seen.answers = raw.responseProducer - before
      },
    })
    expect(seen).toEqual({
      worked: true,
      answers: 0,
      state: XENBUS_STATE.Closed,
      error: expect.stringContaining('its request index is beyond the ring'),
    })
    await expectUnharmed(played)
  })

  test('the last index that a ring can have is served: the rule is not stricter than the protocol', async () => {
    const statuses: number[] = []
    const played = await play({
      attacker: async (kernel) => {
        const raw = await RawFrontend.open(kernel)
        const { ref } = raw.lend()
        for (const response of await raw.ask(
          ...Array.from({ length: 32 }, () => ({ segments: [{ ref, first: 0, last: 0 }] })),
        ))
          statuses.push(response.status)
      },
    })
    expect(statuses).toEqual(Array.from({ length: 32 }, () => 0))
    await expectUnharmed(played)
  })

  test('an attacker who was put out does not come back by saying that it is initialising again', async () => {
    const states: number[] = []
    const played = await play({
      attacker: async (kernel) => {
        const raw = await RawFrontend.open(kernel)
        raw.publish(1000)
        states.push(await raw.waitForBackend(XENBUS_STATE.Closed))
        for (const state of [XENBUS_STATE.Initialising, XENBUS_STATE.Initialised, XENBUS_STATE.Connected]) {
          await kernel.xenstore.write(`${raw.path}/state`, state)
          await kernel.sleep(1e6)
          states.push(await raw.backendState())
        }
      },
    })
    expect(states).toEqual([XENBUS_STATE.Closed, XENBUS_STATE.Closed, XENBUS_STATE.Closed, XENBUS_STATE.Closed])
    await expectUnharmed(played)
  })
})
