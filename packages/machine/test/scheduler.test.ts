import { StateError } from '@iospace/wire'
import { setTimeout } from 'node:timers'
import { expect, test } from 'vitest'
import { Count, type Machine, type MachineOptions, TaskHung, TaskKilled, TimeLimitPassed } from '../src/index.ts'
import { board, turn } from './board.ts'

function started(options: Partial<MachineOptions> = {}) {
  const machine = board(options)
  const crashes: { error: unknown; task: string | null }[] = []
  const group = machine.scheduler.group('guest', (error, task) => crashes.push({ error, task: task?.name ?? null }))
  return { machine, scheduler: machine.scheduler, clock: machine.clock, group, crashes }
}

test('sleep suspends for its virtual time; a run with nothing left is finished', async () => {
  const { scheduler, clock, group } = started()
  const woke: number[] = []
  group.spawn('a', async () => {
    await scheduler.sleep(1e6)
    woke.push(clock.now)
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(woke[0]).toBeGreaterThanOrEqual(1e6)
  expect(woke[0]).toBeLessThan(1e6 + 10 * clock.preset.taskSwitch)
})

test('a task runs to its next wait without another in between, over any number of inner awaits', async () => {
  const { scheduler, group } = started()
  const log: string[] = []
  const inner = async () => 1
  for (const name of ['a', 'b', 'c']) {
    group.spawn(name, async () => {
      for (let i = 0; i < 20; i++) {
        log.push(name)
        await inner()
      }
    })
  }
  await scheduler.run()
  const changes = log.filter((name, i) => name !== log[i - 1])
  expect(changes).toHaveLength(3)
})

test('wake takes the one that has waited longest, wakeAll takes everyone', async () => {
  const { scheduler, group } = started()
  const queue = scheduler.queue('a turn')
  const log: string[] = []
  for (const name of ['a', 'b', 'c']) {
    group.spawn(name, async () => {
      await scheduler.sleep({ a: 1e5, b: 2e5, c: 3e5 }[name]!)
      await queue.wait()
      log.push(name)
    })
  }
  group.spawn('waker', async () => {
    await scheduler.sleep(1e6)
    queue.wake()
    await scheduler.sleep(1e6)
    expect(log).toEqual(['a'])
    queue.wakeAll()
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(log.slice(1).sort()).toEqual(['b', 'c'])
})

test('waitAtMost tells a wake from a time-out, and a time-out takes no wake from others', async () => {
  const { scheduler, group } = started()
  const queue = scheduler.queue('news')
  const results: Record<string, boolean> = {}
  group.spawn('patient', async () => void (results['patient'] = await queue.waitAtMost(1e9)))
  group.spawn('hasty', async () => void (results['hasty'] = await queue.waitAtMost(1e5)))
  group.spawn('waker', async () => {
    await scheduler.sleep(1e6)
    queue.wake()
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(results).toEqual({ patient: true, hasty: false })
})

test('a run in which everything waits for ever is stuck, and says who waits for what', async () => {
  const { scheduler, group } = started()
  const other = scheduler.group('other', () => {})
  group.spawn('reader', () => scheduler.queue('a completion').wait())
  other.spawn('writer', () => scheduler.queue('room in the ring').wait())
  expect(await scheduler.run()).toEqual({
    kind: 'stuck',
    waiting: [
      { task: 'reader', group: 'guest', reason: 'a completion' },
      { task: 'writer', group: 'other', reason: 'room in the ring' },
    ],
  })
})

test('daemons do not keep a run alive', async () => {
  const { scheduler, group } = started()
  let rounds = 0
  const daemon = async () => {
    for (;;) {
      await scheduler.sleep(1e5)
      rounds++
    }
  }
  group.spawn('service', daemon, { daemon: true })
  group.spawn('main', () => scheduler.sleep(1e6))
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(rounds).toBeGreaterThan(5)
  expect(rounds).toBeLessThan(12)
})

test('join waits for the end, and returns at once after it', async () => {
  const { scheduler, group } = started()
  const log: string[] = []
  const child = group.spawn('child', async () => {
    await scheduler.sleep(1e6)
    log.push('child')
  })
  group.spawn('parent', async () => {
    await child.join()
    log.push('parent')
    await child.join()
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(log).toEqual(['child', 'parent'])
  expect(child.done).toBe(true)
})

test('what a task throws goes to its group, before or after its first wait', async () => {
  const { scheduler, group, crashes } = started()
  const early = new RangeError('early')
  const late = new RangeError('late')
  group.spawn('early', () => {
    throw early
  })
  group.spawn('late', async () => {
    await scheduler.sleep(1e6)
    throw late
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(crashes).toEqual([
    { error: early, task: 'early' },
    { error: late, task: 'late' },
  ])
})

test('kill rejects every wait, so that finally runs; other groups go on', async () => {
  const { scheduler, group, crashes } = started()
  const other = scheduler.group('other', () => {})
  const log: string[] = []
  const victim = (name: string, wait: () => Promise<unknown>) =>
    group.spawn(name, async () => {
      try {
        await wait()
        log.push(`${name} went on`)
      } catch (error) {
        expect(error).toBeInstanceOf(TaskKilled)
        throw error
      } finally {
        log.push(`${name} cleaned up`)
      }
    })
  const queue = scheduler.queue('never')
  victim('waiter', () => queue.wait())
  victim('sleeper', () => scheduler.sleep(1e12))
  other.spawn('killer', async () => {
    await scheduler.sleep(1e6)
    group.kill()
    expect(group.dead).toBe(true)
    group.spawn('too late', async () => void log.push('too late'))
    await scheduler.sleep(1e6)
    log.push('killer went on')
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(log.toSorted()).toEqual(['killer went on', 'sleeper cleaned up', 'waiter cleaned up'])
  expect(crashes).toEqual([])
})

test('discard runs nothing of the group any more, not even what a kill began; who joined goes on', async () => {
  const { scheduler, group, crashes } = started()
  const other = scheduler.group('other', () => {})
  const log: string[] = []
  const queue = scheduler.queue('never')
  const waits = [() => queue.wait(), () => scheduler.sleep(10), () => scheduler.sleep(1e12)]
  const tasks = waits.map((wait, i) =>
    group.spawn(`victim ${i}`, async () => {
      try {
        await wait()
      } finally {
        log.push('cleaned up')
      }
    }),
  )
  other.spawn('killer', async () => {
    await scheduler.sleep(5)
    group.kill()
    group.discard()
    for (const task of tasks) await task.join()
    expect([group.dead, tasks.every(({ done }) => done)]).toEqual([true, true])
    await scheduler.sleep(1e6)
    log.push('killer went on')
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect([log, crashes]).toEqual([['killer went on'], []])
})

test('a task cannot discard its own group', async () => {
  const { scheduler, group, crashes } = started()
  group.spawn('suicide', async () => group.discard())
  await scheduler.run()
  expect(crashes.map(({ error }) => error)).toEqual([expect.any(StateError)])
})

test('kill of a task that never ran, and of the running one', async () => {
  const { scheduler, group, crashes } = started()
  const log: string[] = []
  const suicide = (name: string) => async () => {
    log.push(name)
    group.kill()
    await scheduler.sleep(1)
    log.push('after death')
  }
  group.spawn('a', suicide('ran'))
  group.spawn('b', suicide('ran'))
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect([log, crashes]).toEqual([['ran'], []])
})

test('a killed task that catches every error and waits again does not hold up the run', async () => {
  const { scheduler, group } = started()
  const other = scheduler.group('other', () => {})
  let caught = 0
  group.spawn('stubborn', async () => {
    for (;;)
      await scheduler
        .queue('never')
        .wait()
        .catch(() => caught++)
  })
  other.spawn('killer', async () => {
    await scheduler.sleep(1e6)
    group.kill()
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(caught).toBeGreaterThan(1)
})

test('a task that never waits is hung at its next entry to the machine, and others go on', async () => {
  const { scheduler, clock, group, crashes } = started({ hangLimit: 1e6 })
  const other = scheduler.group('other', () => {})
  let done = false
  group.spawn('loop', async () => {
    for (;;) {
      clock.charge(Count.relax)
      scheduler.enter()
    }
  })
  other.spawn('main', async () => {
    await scheduler.sleep(5e6)
    done = true
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(crashes).toHaveLength(1)
  expect(crashes[0]!.error).toBeInstanceOf(TaskHung)
  expect((crashes[0]!.error as TaskHung).message).toBe(
    'task loop ran for more than 1 ms of virtual time without waiting',
  )
  expect(done).toBe(true)
})

test('a task that catches TaskHung and goes on meets it again', async () => {
  const { scheduler, clock, group, crashes } = started({ hangLimit: 1e6 })
  let caught = 0
  group.spawn('loop', async () => {
    while (caught < 3) {
      clock.charge(Count.relax)
      try {
        scheduler.enter()
      } catch (error) {
        expect(error).toBeInstanceOf(TaskHung)
        caught++
      }
    }
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect([caught, crashes]).toEqual([3, []])
})

test('the virtual-time limit ends a run of waits with the list of waiters', async () => {
  const { scheduler, group } = started({ timeLimit: 1e7 })
  group.spawn('ticker', async () => {
    for (;;) await scheduler.sleep(1e6)
  })
  expect(await scheduler.run()).toEqual({
    kind: 'timeLimit',
    limit: 1e7,
    waiting: [{ task: 'ticker', group: 'guest', reason: 'a timer' }],
  })
})

test('the virtual-time limit is thrown into a task that runs past it', async () => {
  const { scheduler, clock, group, crashes } = started({ timeLimit: 1e6, hangLimit: 1e12 })
  group.spawn('loop', async () => {
    for (;;) {
      clock.charge(Count.relax)
      scheduler.enter()
    }
  })
  expect(await scheduler.run()).toMatchObject({ kind: 'timeLimit' })
  expect(crashes[0]!.error).toBeInstanceOf(TimeLimitPassed)
})

test('an await of something that is not of the machine ends the task, with the reason', async () => {
  const { scheduler, group, crashes } = started()
  let release = () => {}
  group.spawn('foreign', async () => {
    await new Promise<void>((resolve) => {
      release = resolve
      setTimeout(resolve, 100)
    })
    throw new RangeError('never reported: the task has ended')
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  release()
  await turn()
  expect(crashes).toHaveLength(1)
  expect(crashes[0]!.error).toBeInstanceOf(StateError)
  expect((crashes[0]!.error as Error).message).toContain('task foreign: awaits something that is not of this machine')
})

test('two waits of one task at once are a StateError that names both; its queue keeps its wakes for others', async () => {
  const { scheduler, group, crashes } = started()
  const [bell, door] = [scheduler.queue('the bell'), scheduler.queue('the door')]
  let heard = false
  group.spawn('greedy', async () => {
    await Promise.all([bell.wait(), door.wait()])
  })
  group.spawn('modest', async () => {
    await scheduler.sleep(1e6)
    await bell.wait()
    heard = true
  })
  group.spawn('ringer', async () => {
    await scheduler.sleep(2e6)
    bell.wake()
  })
  expect(await scheduler.run()).toEqual({ kind: 'finished' })
  expect(heard).toBe(true)
  expect((crashes[0]!.error as Error).message).toBe(
    'task greedy: cannot wait for the door while it waits for the bell: spawn a task for each',
  )
})

test('only a task can wait', () => {
  const { scheduler } = started()
  expect(() => scheduler.queue('nothing').wait()).toThrow(StateError)
})

test('interrupts of a group run between tasks, never inside one, and cost an upcall', async () => {
  const { scheduler, clock, group } = started()
  const log: string[] = []
  clock.after(1500, () => group.interrupt(() => log.push('interrupt')))
  group.spawn('busy', async () => {
    for (let i = 0; i < 100; i++) clock.charge(Count.relax)
    await Promise.resolve()
    log.push('slice ends')
    await scheduler.sleep(1)
    log.push('next slice')
  })
  await scheduler.run()
  expect(log).toEqual(['slice ends', 'interrupt', 'next slice'])
  expect(clock.counts[Count.eventUpcall]).toBe(1)
})

test('interrupts of a dead group are dropped; what a handler throws goes to the group', async () => {
  const { scheduler, group, crashes } = started()
  const dead = scheduler.group('dead', () => {})
  const error = new RangeError('in the handler')
  let ran = false
  dead.interrupt(() => (ran = true))
  dead.kill()
  group.interrupt(() => {
    throw error
  })
  group.interrupt(() => void scheduler.queue('a wait in a handler').wait())
  await scheduler.run()
  expect(ran).toBe(false)
  expect(crashes[0]).toEqual({ error, task: null })
  expect(crashes[1]!.error).toBeInstanceOf(StateError)
})

test('interrupts run in the order of posting, however many wait, and what they post comes after them', async () => {
  const { scheduler, group } = started()
  const seen: number[] = []
  for (let i = 0; i < 100; i++) {
    group.interrupt(() => {
      seen.push(i)
      if (i % 2 === 0) group.interrupt(() => void seen.push(1000 + i))
    })
  }
  await scheduler.run()
  const first = Array.from({ length: 100 }, (_, i) => i)
  expect(seen).toEqual([...first, ...first.filter((i) => i % 2 === 0).map((i) => 1000 + i)])
})

test('busy: a task or handler runs or can run before time has to pass', async () => {
  const { scheduler, group, clock } = started()
  const log: boolean[] = [scheduler.busy]
  group.spawn('a', async () => {
    log.push(scheduler.busy)
    await scheduler.sleep(100_000)
  })
  log.push(scheduler.busy)
  // While it sleeps, and when it may go on: events of the same time come in the order in which they were set.
  clock.after(50_000, () => log.push(scheduler.busy))
  clock.after(60_000, () => group.interrupt(() => {}))
  clock.after(60_000, () => log.push(scheduler.busy))
  await scheduler.run()
  log.push(scheduler.busy)
  expect(log).toEqual([false, true, true, false, true, false])
})

test('the host gets its turns while hardware and interrupts alone keep the machine busy', async () => {
  let turns = 0
  const { scheduler, clock, group } = started({
    turn: () => {
      turns++
      return turn()
    },
  })
  const queue = scheduler.queue('the last interrupt')
  const interrupts = 20_000
  group.spawn('waits once', () => queue.wait())
  let left = interrupts
  const next = (): void => {
    if (--left === 0) queue.wake()
    else clock.after(1000, () => group.interrupt(next))
  }
  group.interrupt(next)
  await scheduler.run()
  expect(turns).toBeGreaterThan(interrupts / 1000)
  expect(turns).toBeLessThan(interrupts / 100)
})

/** The order in which eight tasks pass ten waits each, some equal in time. */
async function order(seed: number): Promise<{ order: string; now: number }> {
  const { machine, scheduler, group } = started({ seed }) as { machine: Machine } & ReturnType<typeof started>
  let log = ''
  for (let i = 0; i < 8; i++) {
    group.spawn(`t${i}`, async () => {
      for (let n = 0; n < 10; n++) {
        log += i
        await scheduler.sleep(1000 * (i % 3))
      }
    })
  }
  await scheduler.run()
  return { order: log, now: machine.clock.now }
}

test('the seed decides: the same seed gives the same order, two seeds differ', async () => {
  const first = await order(1)
  expect(await order(1)).toEqual(first)
  expect((await order(2)).order).not.toBe(first.order)
})
