import { BLKIF_OP } from '@iospace/abi'
import { MemoryBlockStore } from '@iospace/devices'
import type { System } from '@iospace/lab'
import type { Kernel } from '@iospace/linux'
import { expect, test } from 'vitest'
import { page, RawFrontend, slot, XVDB, type RawRequest } from '../../support/raw-frontend.ts'
import { noise, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const SLOT_BYTES = 112
const PERIOD = 50
const ROUNDS = 24

/** Makes the slot of request `index` the one and the other in turn, every {@link PERIOD} ns, until it is told to stop. */
function flip(system: System, raw: RawFrontend, index: number, faces: readonly Uint8Array[]): () => void {
  let stopped = false
  let turn = 0
  const step = (): void => {
    if (stopped) return
    raw.ring.write(slot(index), faces[turn++ % faces.length]!)
    system.machine.clock.after(PERIOD, step)
  }
  system.machine.clock.after(PERIOD, step)
  return () => (stopped = true)
}

/** The bytes of a request as they stand in a slot. */
function face(raw: RawFrontend, request: RawRequest): Uint8Array {
  raw.put(raw.produced, request)
  return raw.ring.read(slot(raw.produced), new Uint8Array(SLOT_BYTES))
}

test.each(['xen', 'swiotlb'] as const)(
  'a request is read once and judged by what was read (I14, XSA-155), --dma %s',
  async (dma) => {
    const scratch = new MemoryBlockStore(noise(64 * 512, 5))
    const content = scratch.contents.slice()
    let system!: System
    const outcomes = { ok: 0, error: 0, unsupported: 0, other: 0 }
    let clean = true
    const play1 = async (kernel: Kernel): Promise<void> => {
      const raw = await RawFrontend.open(kernel, { disk: XVDB })
      for (let round = 0; round < ROUNDS; round++) {
        const good = raw.lend()
        const guarded = raw.lend(true)
        const plain = page(kernel)
        const segments = [{ ref: good.ref, first: 0, last: 7 }]
        const id = BigInt(round)
        const evil: RawRequest[] = [
          { id, segments: [{ ref: guarded.ref, first: 0, last: 7 }] },
          { id, segments: [{ ref: good.ref, first: 0, last: 255 }] },
          { id, segments, count: 12 },
          { id, segments, operation: BLKIF_OP.WRITE, sector: 2n ** 40n },
          { id, segments: [{ ref: 300, first: 0, last: 7 }], operation: BLKIF_OP.WRITE },
          { id, segments, operation: BLKIF_OP.INDIRECT },
        ]
        const faces = [face(raw, { id, segments }), face(raw, evil[round % evil.length]!)]
        if (round % 2 === 0) faces.reverse()
        raw.ring.write(slot(raw.produced), faces[0]!)
        const stop = flip(system, raw, raw.produced, faces)
        raw.publish(++raw.produced)
        // Its own slot is where the answer comes, too.
        while (raw.responseProducer !== raw.produced) await kernel.sleep(1000)
        stop()
        await kernel.sleep(2 * PERIOD)
        raw.consumed = raw.produced
        const arrived = good.page.read(0, new Uint8Array(4096))
        const status = arrived.every((byte, i) => byte === content[i])
          ? 'ok'
          : arrived.every((byte) => byte === 0)
            ? 'error'
            : 'other'
        outcomes[status]++
        clean &&= [guarded.page, plain].every((each) => each.read(0, new Uint8Array(4096)).every((byte) => byte === 0))
      }
    }
    const played = await play({ dma, scratch, prepare: (built) => (system = built), attacker: play1 })
    // Both faces were seen by the back-end, so the moments of the flips were good ones; and never a mixture.
    expect(outcomes.ok).toBeGreaterThan(0)
    expect(outcomes.error).toBeGreaterThan(0)
    expect(outcomes.other).toBe(0)
    expect(clean).toBe(true)
    expect(scratch.contents).toEqual(content)
    await expectUnharmed(played)
  },
)
