/** Guests whose program goes wrong. Each ends alone: what it had is given back, and the neighbour reads its disk before and afterwards. */
import { SHUTDOWN } from '@iospace/abi'
import { blkfront, type Kernel } from '@iospace/linux'
import { expect, test } from 'vitest'
import { endAbruptly } from '../../support/abrupt-end.ts'
import { page, RawFrontend } from '../../support/raw-frontend.ts'
import { hashDisk } from '../../support/reader.ts'
import { play, type Scene } from '../../support/scene.ts'
import { Rogue } from '../../support/rogue.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

interface Case {
  readonly name: string
  readonly program: (kernel: Kernel) => Promise<void>
  readonly crash?: string | RegExp
  /** What dom0 saw. */
  readonly reason?: string
  readonly scene?: Partial<Scene>
}

/** Connects to its disk and reads it once: with grants, events and requests behind it. */
async function used(kernel: Kernel): Promise<void> {
  await kernel.xenbus.register(blkfront)
  await hashDisk(kernel, await kernel.block.wait(kernel, 'xvda'))
}

const HUNG = 'attacker: task attacker/init ran for more than 50 ms of virtual time without waiting'

const CASES: readonly Case[] = [
  {
    name: 'throws before it has done anything',
    program: async () => {
      throw new Error('no coffee')
    },
    crash: 'attacker: no coffee',
    reason: 'crash',
  },
  {
    name: 'throws with its disk connected',
    program: async (kernel) => {
      await used(kernel)
      throw new Error('no tea')
    },
    crash: 'attacker: no tea',
    reason: 'crash',
  },
  {
    name: 'throws what is no error',
    program: async () => {
      throw undefined
    },
    crash: 'attacker: undefined',
    reason: 'crash',
  },
  {
    name: 'throws in an event handler',
    program: async (kernel) => {
      await used(kernel)
      kernel.events.handle(kernel.events.bindVirq(3), () => undefined)
      kernel.platform.tasks.interrupt(() => {
        throw new Error('handler')
      })
      await kernel.sleep(1e9)
    },
    crash: 'attacker: handler',
    reason: 'crash',
  },
  {
    name: 'throws in another task than its first',
    program: async (kernel) => {
      kernel.spawn('other', async () => {
        await used(kernel)
        throw new Error('other')
      })
      await kernel.sleep(1e9)
    },
    crash: 'attacker: other',
    reason: 'crash',
  },
  {
    name: 'waits for ever for what nobody will do',
    program: async (kernel) => {
      await used(kernel)
      await kernel.queue('Godot').wait()
    },
    crash: 'attacker: waits for ever for Godot',
    scene: { waits: false },
    reason: 'crash',
  },
  {
    name: 'loops with hypercalls',
    program: async (kernel) => {
      await used(kernel)
      for (;;) kernel.events.send(1)
    },
    crash: HUNG,
    reason: 'crash',
  },
  {
    name: 'polls a register for ever',
    scene: { rogue: true },
    program: async (kernel) => {
      const { registers } = await Rogue.bind(kernel)
      while (registers.read32(0) !== 0) continue
    },
    crash: HUNG,
    reason: 'crash',
  },
  {
    name: 'loops in relax',
    program: async (kernel) => {
      for (;;) kernel.platform.relax()
    },
    crash: HUNG,
    reason: 'crash',
  },
  {
    name: 'loops in an event handler',
    program: async (kernel) => {
      kernel.platform.tasks.interrupt(() => {
        for (;;) kernel.events.send(1)
      })
      await kernel.sleep(1e9)
    },
    crash: 'attacker: task an interrupt handler ran for more than 50 ms of virtual time without waiting',
    reason: 'crash',
  },
  {
    name: 'catches the error that ends it, and goes on waiting',
    program: async (kernel) => {
      for (let i = 0; ; i++) {
        try {
          if (i === 0) throw new Error('caught')
          if (i === 1) kernel.spawn('end', () => Promise.reject(new Error('the end')))
          await kernel.sleep(1e3)
        } catch {
          continue
        }
      }
    },
    crash: 'attacker: the end',
    reason: 'crash',
  },
  {
    name: 'awaits what is not of its machine',
    program: () => new Promise(() => undefined),
    crash: 'attacker: task attacker/init: awaits something that is not of this machine',
    reason: 'crash',
  },
  {
    name: 'ends without a word',
    program: async () => undefined,
    reason: 'poweroff',
  },
  {
    name: 'shuts down without cleaning up: its disk connected, pages granted, ports open',
    program: async (kernel) => {
      await used(kernel)
      for (let i = 0; i < 20; i++) kernel.grants.grantAccess(1, page(kernel).pfn, false)
      await endAbruptly(kernel)
    },
    reason: 'poweroff',
  },
  {
    name: 'says that it crashed',
    program: async (kernel) => {
      await used(kernel)
      await endAbruptly(kernel, SHUTDOWN.crash)
    },
    reason: 'crash',
  },
  {
    name: 'shuts down with requests under way, as a raw front-end',
    program: async (kernel) => {
      const raw = await RawFrontend.open(kernel)
      for (let i = 0; i < 32; i++) raw.put(i, { segments: [{ ref: raw.lend().ref, first: 0, last: 7 }] })
      raw.publish(32)
      await kernel.sleep(5000)
      await endAbruptly(kernel)
    },
    reason: 'poweroff',
  },
]

test.each(CASES)('a guest that $name ends alone', async ({ program, crash, scene, reason }) => {
  const played = await play({ attacker: program, ...scene })
  expect(played.ended.find(({ name }) => name === 'attacker')?.reason).toBe(reason)
  await expectUnharmed(played, { crashes: crash === undefined ? [] : [crash] })
})

test('a program that is not there is a sentence about the domain that wanted it, and nothing else', async () => {
  const played = await play({ attacker: undefined as never })
  await expectUnharmed(played, { crashes: [/^attacker: init\b.*is not a program that was handed in/] })
})
