import { expect, test } from 'vitest'
import { MachineTables, type TableMemory } from '../../src/walk.ts'
import { Board, IOVA, PAGE_A, TABLE } from './board.ts'

/** Memory where some entries are poisoned. */
class Failing implements TableMemory {
  readonly words: Int32Array
  readonly #inner: MachineTables
  readonly poisoned = new Set<number>()

  constructor(inner: MachineTables) {
    this.words = inner.words
    this.#inner = inner
  }

  entryAt(mfn: number, index: number): number {
    return this.poisoned.has(mfn * 4096 + index * 8) ? -2 : this.#inner.entryAt(mfn, index)
  }
}

test('an entry that is poisoned: refused, recorded as any error, and not remembered [calgary.tce.unreadable]', () => {
  let memory: Failing | undefined
  const board = new Board({ tables: (machine) => (memory = new Failing(new MachineTables(machine.memory))) }).ordinary()
  const device = board.device()
  memory!.poisoned.add(TABLE + 0x200 * 8)
  expect([device.put(IOVA, 1n), device.get(IOVA), board.csr()]).toEqual([-1, -1n, 0x80010000])
  memory!.poisoned.clear()
  expect([device.put(IOVA, 2n), board.load(PAGE_A)]).toEqual([2, 2n])
})

test('a cached one is not asked for', () => {
  let memory: Failing | undefined
  const board = new Board({ tables: (machine) => (memory = new Failing(new MachineTables(machine.memory))) }).ordinary()
  const device = board.device()
  device.put(IOVA, 1n)
  memory!.poisoned.add(TABLE + 0x200 * 8)
  expect(device.put(IOVA, 2n)).toBe(2)
})

test('a table where there is no RAM [calgary.tce.unreadable]', () => {
  const board = new Board().ordinary()
  board.tar(0x0000_7fff_ffff_0000n)
  expect([board.device().get(IOVA), board.csr()]).toEqual([-1n, 0x80010000])
})
