import { expect, test } from 'vitest'
import { Machine, PAGE_SIZE } from '../src/index.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

test('memory.copy and fill work on the flat memory, RAM has a hole below 4 GiB', () => {
  const { memory } = new Machine({ memory: { lowFrames: 16, highFrames: 16, boardBytes: 65536 }, seed: 1, turn })
  memory.bytes.set([1, 2, 3], 0)
  memory.copy(memory.frameOffset(0x100000), 0, 3)
  expect([...memory.bytes.subarray(16 * PAGE_SIZE, 16 * PAGE_SIZE + 3)]).toEqual([1, 2, 3])
  expect(memory.offset(1, 2)).toBe(16 * PAGE_SIZE + 2)
  expect(memory.offset(0, 0x10000)).toBe(-1)
  expect(memory.offset(0x1000, 0)).toBe(-1)
  memory.fill(5, 0xaa, 2)
  expect([...memory.bytes.subarray(4, 8)]).toEqual([0, 0xaa, 0xaa, 0])
})

test('tasks wait, wake and are found stuck', async () => {
  const { scheduler } = new Machine({ memory: { lowFrames: 16, highFrames: 16, boardBytes: 65536 }, seed: 1, turn })
  const crashes: unknown[] = []
  const group = scheduler.group('g', (error) => crashes.push(error))
  const queue = scheduler.queue('the bell')
  const log: string[] = []
  group.spawn('a', async () => {
    await queue.wait()
    log.push('woken')
  })
  group.spawn('b', async () => {
    await scheduler.sleep(5000)
    queue.wakeAll()
    expect(await queue.waitAtMost(100)).toBe(false)
    await queue.wait()
  })
  group.spawn('c', async () => {
    throw new Error('boom')
  })
  const outcome = await scheduler.run()
  expect(outcome).toEqual({ kind: 'stuck', waiting: [{ task: 'b', group: 'g', reason: 'the bell' }] })
  expect(log).toEqual(['woken'])
  expect(crashes).toHaveLength(1)
})
