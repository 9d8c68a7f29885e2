/**
 * dom0 destroys domains by the bare hypercall, in any order, with requests under way: no disk is closed first, nobody is told. What others
 * hold of a destroyed domain stays a shell until they let go; nothing is freed before.
 */
import { MemoryBlockStore } from '@iospace/devices'
import type { Dom0Hands } from '@iospace/dom0'
import type { System } from '@iospace/lab'
import { blkfront, type Kernel } from '@iospace/linux'
import { describe, expect, test } from 'vitest'
import { hashDisk } from '../../support/reader.ts'
import { busyMoment } from '../../support/saboteur.ts'
import { Domid, noise, play, type Dma, type Scene } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const { driver, attacker, neighbour } = Domid
const ORDERS = [
  [driver, attacker, neighbour],
  [driver, neighbour, attacker],
  [attacker, driver, neighbour],
  [attacker, neighbour, driver],
  [neighbour, driver, attacker],
  [neighbour, attacker, driver],
] as const

async function busy(kernel: Kernel): Promise<void> {
  await kernel.xenbus.register(blkfront)
  const disk = await kernel.block.wait(kernel, 'xvda')
  for (let i = 0; i < 50; i++) if ((await hashDisk(kernel, disk)).startsWith('error')) return
}

/** A scene in which `destroy` runs in dom0 once both guests have requests under way. */
function atWork(scene: Partial<Scene>, destroy: (hands: Dom0Hands, system: System) => Promise<void>): Scene {
  let system!: System
  return {
    image: new MemoryBlockStore(noise(600_000)),
    attacker: busy,
    prepare: (built) => (system = built),
    administrator: async (hands) => {
      const moment = busyMoment(system, [attacker, neighbour], 2)
      for (let i = 0; i < 20_000 && !moment(); i++) await hands.kernel.sleep(2000)
      await destroy(hands, system)
    },
    ...scene,
  }
}

const DMAS: readonly Dma[] = ['xen', 'nommu']

describe.each(DMAS)('--dma %s', (dma) => {
  test.each(ORDERS)('domains %i, %i and %i are destroyed under each other', async (...order) => {
    const results: number[] = []
    const held: boolean[] = []
    const played = await play(
      atWork({ dma, neighbour: busy }, async ({ kernel, control }, system) => {
        for (const domid of order) {
          results.push(control.destroy(domid))
          // Of a guest whose pages the driver domain still has, a shell is left; of any, the page that dom0's xenstored has.
          const shell = system.hypervisor.snapshot().domains.find((each) => each.domid === domid)
          held.push(shell?.life === 'dying' && shell.pages > 1)
          await kernel.sleep(3000)
        }
      }),
    )
    expect(results).toEqual([0, 0, 0])
    // Guests that go while the driver domain lives leave the pages of their requests with it.
    expect(held).toEqual(order.map((domid, i) => domid !== driver && i < order.indexOf(driver)))
    expect(played.ended.map(({ domid }) => domid).toSorted((a, b) => a - b)).toEqual([driver, attacker, neighbour])
    await expectUnharmed(played, { readings: 'any' })
  })

  test('one guest is destroyed under its requests; the other reads on', async () => {
    let shell = false
    const played = await play(
      atWork({ dma }, async ({ control }, system) => {
        control.destroy(attacker)
        shell = system.hypervisor.snapshot().domains.some(({ domid, life }) => domid === attacker && life === 'dying')
      }),
    )
    expect(shell).toBe(true)
    await expectUnharmed(played)
  })

  test('the toolstack’s own way, with disks closed first, works under requests as well, in a bad order', async () => {
    const played = await play(
      atWork({ dma, neighbour: busy }, async ({ supervisor }) => {
        for (const domid of [driver, attacker, neighbour]) await supervisor.destroy(domid)
      }),
    )
    expect(played.ended.map(({ domid, reason }) => [domid, reason])).toEqual(
      [driver, attacker, neighbour].map((domid) => [domid, 'destroyed']),
    )
    await expectUnharmed(played, { readings: 'any' })
  })
})

test('destroying twice, and destroying nobody, changes nothing', async () => {
  const results: number[] = []
  const played = await play(
    atWork({}, async ({ control }) => {
      results.push(control.destroy(attacker), control.destroy(attacker), control.destroy(77), control.destroy(0))
    }),
  )
  expect(results[0]).toBe(0)
  expect(results[1]).toBe(0)
  expect(results.slice(2).every((result) => result < 0)).toBe(true)
  await expectUnharmed(played)
})
