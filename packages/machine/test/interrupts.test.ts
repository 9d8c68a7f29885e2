import { StateError } from '@iospace/wire'
import { expect, test } from 'vitest'
import { Count } from '../src/index.ts'
import { board } from './board.ts'

function listening(...vectors: number[]) {
  const { interrupts, clock } = board()
  const log: number[] = []
  for (const vector of vectors) interrupts.handle(vector, (which) => log.push(which))
  return { interrupts, clock, log }
}

test('a message runs the handler of its vector; bits above 7 are not part of it', () => {
  const { interrupts, clock, log } = listening(0x30)
  interrupts.message(0x4030)
  expect(log).toEqual([0x30])
  expect([interrupts.received[0x30], clock.counts[Count.interruptMessage]]).toEqual([1, 1])
})

test('a message of another delivery mode than fixed or lowest priority names no vector (SDM 3A 11.11.2)', () => {
  const { interrupts, log } = listening(0x30)
  for (let mode = 0; mode < 8; mode++) interrupts.message((mode << 8) | 0x30)
  expect([log, interrupts.received[0x30]]).toEqual([[0x30, 0x30], 2])
  expect([...interrupts.withoutVector]).toEqual([0, 0, 1, 1, 1, 1, 1, 1])
})

test('messages without a handler are counted and dropped', () => {
  const { interrupts, log } = listening(0x30)
  interrupts.message(0x31)
  interrupts.handle(0x30, null)
  interrupts.message(0x30)
  expect(log).toEqual([])
  expect([interrupts.received[0x31], interrupts.received[0x30]]).toEqual([1, 1])
})

test('held interrupts come at the outermost release, highest vector first, each vector once (SDM 3A 10.8.4)', () => {
  const { interrupts, log } = listening(0x20, 0x31, 0xef)
  interrupts.hold()
  interrupts.hold()
  for (const data of [0x20, 0xef, 0x31, 0x20]) interrupts.message(data)
  interrupts.release()
  expect(log).toEqual([])
  interrupts.release()
  expect(log).toEqual([0xef, 0x31, 0x20])
  expect(interrupts.received[0x20]).toBe(2)
})

test('a handler runs with interrupts held: one that comes meanwhile follows it', () => {
  const { interrupts, log } = listening()
  interrupts.handle(0x40, () => {
    interrupts.message(0x50)
    interrupts.hold()
    interrupts.release()
    log.push(0x40)
  })
  interrupts.handle(0x50, () => log.push(0x50))
  interrupts.message(0x40)
  expect(log).toEqual([0x40, 0x50])
})

test('an interrupt that hardware sends is taken after the hardware event, where waiting for hardware works', () => {
  const { interrupts, clock, log } = listening()
  let answered = false
  interrupts.handle(0x40, () => {
    clock.after(100, () => (answered = true))
    while (!answered && clock.now < 10000) clock.charge(Count.relax)
    log.push(1)
  })
  clock.after(10, () => {
    interrupts.message(0x40)
    log.push(0)
  })
  clock.advance()
  expect(log).toEqual([0, 1])
  expect(answered).toBe(true)
})

test('a handler that throws leaves interrupts enabled', () => {
  const { interrupts, log } = listening(0x21)
  interrupts.handle(0x20, () => {
    throw new RangeError('of the handler')
  })
  expect(() => interrupts.message(0x20)).toThrow(RangeError)
  interrupts.message(0x21)
  expect(log).toEqual([0x21])
})

test('a release without a hold is a StateError', () => {
  expect(() => board().interrupts.release()).toThrow(StateError)
})
