/**
 * Domains that die at a moment of the host's choosing, with requests under way, grants mapped and DMA in flight. Seeds choose the
 * order of tasks and the moment.
 */
import { MemoryBlockStore } from '@iospace/devices'
import { blkfront, type Kernel } from '@iospace/linux'
import { describe, expect, test } from 'vitest'
import { hashDisk } from '../../support/reader.ts'
import { busyMoment, once, panic } from '../../support/saboteur.ts'
import { Domid, noise, play, type Dma } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const DMAS: readonly Dma[] = ['xen', 'swiotlb', 'nommu']
/** Long enough for requests to be under way most of the time. */
const image = (): MemoryBlockStore => new MemoryBlockStore(noise(600_000))

/** Reads its disk again and again, much longer than anyone lets it. */
async function busy(kernel: Kernel): Promise<void> {
  await kernel.xenbus.register(blkfront)
  const disk = await kernel.block.wait(kernel, 'xvda')
  for (let i = 0; i < 50; i++) await hashDisk(kernel, disk)
}

describe.each(DMAS)('--dma %s', (dma) => {
  test.each([1, 2, 3])(
    'a guest panics while a device writes into its memory: the write ends before the memory does (seed %i)',
    async (seed) => {
      let frames = 0
      const played = await play({
        dma,
        seed,
        image: image(),
        attacker: busy,
        prepare: (system, host) => {
          once(
            host,
            // The seed also chooses the moment.
            busyMoment(system, [Domid.attacker], seed + 1),
            () => {
              frames = system.hypervisor.oracle.framesOf(Domid.attacker).length
              panic(system, Domid.attacker)
            },
          )
        },
      })
      expect(frames).toBeGreaterThan(900)
      expect(played.ended.find(({ name }) => name === 'attacker')?.reason).toBe('crash')
      await expectUnharmed(played, { crashes: ['attacker: panic'] })
    },
  )

  test('the driver domain panics with everybody’s requests under way: they get errors, not silence', async () => {
    const results: string[] = []
    const played = await play({
      dma,
      image: image(),
      attacker: async (kernel) => {
        await kernel.xenbus.register(blkfront)
        const disk = await kernel.block.wait(kernel, 'xvda')
        let result = ''
        for (let i = 0; i < 50 && !result.startsWith('error'); i++) result = await hashDisk(kernel, disk)
        results.push(result)
      },
      prepare: (system, host) => {
        once(host, busyMoment(system, [Domid.attacker, Domid.neighbour], 5), () => panic(system, Domid.driver))
      },
    })
    expect(results).toEqual(['error -5'])
    for (const reading of played.neighbour) expect([played.expected, 'error -5']).toContain(reading)
    expect(played.neighbour).toContain('error -5')
    expect(played.driver).toBeNull()
    await expectUnharmed(played, { crashes: ['driver: panic'], readings: 'any' })
  })

  test('a guest and the driver domain panic in the same moment', async () => {
    const played = await play({
      dma,
      image: image(),
      attacker: busy,
      prepare: (system, host) => {
        once(host, busyMoment(system, [Domid.attacker, Domid.neighbour], 5), () => {
          panic(system, Domid.attacker)
          panic(system, Domid.driver)
        })
      },
    })
    await expectUnharmed(played, { crashes: ['attacker: panic', 'driver: panic'], readings: 'any' })
  })
})
