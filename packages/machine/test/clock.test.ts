import { expect, test } from 'vitest'
import { Clock, Count, type CostPreset, xeon2006 } from '../src/index.ts'
import { fc } from './property.ts'

const preset: CostPreset = { ...xeon2006, name: 'test', relax: 10, hypercall: 100 }

test('events run in order of (time, scheduling), whatever the order of scheduling', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 60 }), (delays) => {
      const clock = new Clock(preset)
      const log: number[] = []
      delays.forEach((delay, i) => clock.after(delay, () => log.push(i)))
      while (clock.advance());
      const expected = delays.map((delay, i) => [delay, i] as const).sort((a, b) => a[0] - b[0] || a[1] - b[1])
      expect(log).toEqual(expected.map(([, i]) => i))
    }),
  )
})

test('cancelled and restarted events: the queue behaves like a sorted list', () => {
  const step = fc.record({ timer: fc.nat(31), delay: fc.option(fc.nat(500), { nil: null }), advance: fc.nat(5) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const clock = new Clock(preset)
      const log: number[] = []
      const timers = Array.from({ length: 32 }, (_, i) => clock.timer(() => log.push(i)))
      const model = new Map<number, { due: number; sequence: number }>()
      const expected: number[] = []
      steps.forEach(({ timer, delay, advance }, sequence) => {
        if (delay === null) {
          timers[timer]!.cancel()
          model.delete(timer)
        } else {
          timers[timer]!.start(delay)
          model.set(timer, { due: clock.now + delay, sequence })
        }
        const order = [...model].sort(([, a], [, b]) => a.due - b.due || a.sequence - b.sequence)
        expect(clock.nextDue).toBe(order[0]?.[1].due ?? Infinity)
        expect(timers.map(({ pending }) => pending)).toEqual(timers.map((_, i) => model.has(i)))
        if (advance > 0 || order.length === 0) return
        const { due } = order[0]![1]
        for (const [i, event] of order) {
          if (event.due > due) break
          expected.push(i)
          model.delete(i)
        }
        clock.advance()
        expect(clock.now).toBe(due)
      })
      expect(log).toEqual(expected)
    }),
  )
})

test('charge counts, spends the preset cost, and runs inline what became due', () => {
  const clock = new Clock(preset)
  const seen: number[] = []
  clock.after(25, () => seen.push(clock.now))
  clock.charge(Count.relax, 2)
  expect([clock.now, seen]).toEqual([20, []])
  clock.charge(Count.relax)
  expect([clock.now, seen]).toEqual([30, [30]])
  expect(clock.counts[Count.relax]).toBe(3)
  expect(clock.snapshot()).toMatchObject({ relax: 3, hypercall: 0 })
})

test('count is free: hardware runs beside the CPU', () => {
  const clock = new Clock(preset)
  clock.count(Count.dmaRead, 5)
  expect([clock.now, clock.counts[Count.dmaRead]]).toEqual([0, 5])
})

test('polling ends: a loop that only charges meets the event it waits for', () => {
  const clock = new Clock(preset)
  let done = false
  clock.after(1000, () => (done = true))
  let polls = 0
  for (; !done; polls++) clock.charge(Count.relax)
  expect(polls).toBe(100)
})

test('a charge inside a hardware event does not nest: what becomes due runs after it', () => {
  const clock = new Clock(preset)
  const log: string[] = []
  clock.after(10, () => {
    log.push('first starts')
    expect(clock.inHardware).toBe(true)
    clock.charge(Count.hypercall)
    log.push('first ends')
  })
  clock.after(50, () => log.push('second'))
  clock.charge(Count.relax)
  expect(log).toEqual(['first starts', 'first ends', 'second'])
  expect(clock.inHardware).toBe(false)
})

test('a cancelled event never runs, and cancelling one that ran does nothing', () => {
  const clock = new Clock(preset)
  const log: string[] = []
  const first = clock.after(5, () => log.push('first'))
  const second = clock.after(6, () => log.push('second'))
  second.cancel()
  expect(clock.advance()).toBe(true)
  first.cancel()
  expect(clock.advance()).toBe(false)
  expect([log, clock.now, clock.nextDue]).toEqual([['first'], 5, Infinity])
})

test('a timer can start itself anew while it runs', () => {
  const clock = new Clock(preset)
  const seen: number[] = []
  const timer = clock.timer(() => {
    seen.push(clock.now)
    if (seen.length < 3) timer.start(7)
  })
  timer.start(1)
  while (clock.advance());
  expect(seen).toEqual([1, 8, 15])
})

test('an event that throws leaves the clock usable', () => {
  const clock = new Clock(preset)
  clock.after(1, () => {
    throw new RangeError('of the model')
  })
  let ran = false
  clock.after(2, () => (ran = true))
  expect(() => clock.advance()).toThrow(RangeError)
  expect(clock.advance()).toBe(true)
  expect(ran).toBe(true)
})
