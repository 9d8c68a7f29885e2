import { describe, expect, test } from 'vitest'
import { vtdPersonalities } from '../../src/hardware.ts'
import { MachineTables, type TableMemory } from '../../src/walk.ts'
import { Board, CONTEXT, ENTRIES, IOVA, L1, L2, L3, L4, PAGE_A, QUEUE, ROOT, STATUS } from './board.ts'

/**
 * Memory that fails (facts I): nobody answers (access violation), or the data are poisoned. Reasons 3 (of the top table), 7, 8, 9 and 23,
 * and the queue's fetch error, exist for that alone.
 */
class Failing implements TableMemory {
  readonly words: Int32Array
  readonly #inner: MachineTables
  /** Byte addresses of 8-byte words, and how each fails. */
  readonly bad = new Map<number, -1 | -2>()

  constructor(inner: MachineTables) {
    this.words = inner.words
    this.#inner = inner
  }

  entryAt(mfn: number, index: number): number {
    return this.bad.get(mfn * 4096 + index * 8) ?? this.#inner.entryAt(mfn, index)
  }
}

function board(): { made: Board; memory: Failing } {
  let memory: Failing | undefined
  const made = new Board({
    personality: vtdPersonalities['sandybridge-ep'],
    options: (machine) => ({ tables: (memory = new Failing(new MachineTables(machine.memory))) }),
  })
  made.ordinary()
  made.store(PAGE_A, 0xaan)
  made.turnOn()
  return { made, memory: memory! }
}

describe.each([
  ['nobody answers', -1],
  ['poison', -2],
] as const)('%s [vtd.fault.poison]', (_name, how) => {
  test.each([
    ['root entry', ROOT, 8],
    ['root entry, upper half', ROOT + 8, 8],
    ['context entry', CONTEXT + 8 * 16, 9],
    ['context entry, upper half', CONTEXT + 8 * 16 + 8, 9],
    ['L4 entry', L4, 3],
    ['L3 entry', L3, 7],
    ['L2 entry', L2 + 8, 7],
    ['L1 entry', L1, 7],
  ])('%s at %i: reason %i, and nothing is cached', (_entry, address, reason) => {
    const { made, memory } = board()
    const device = made.device()
    memory.bad.set(address, how)
    expect([device.get(IOVA), device.put(IOVA, 1n)]).toEqual([-1n, -1])
    expect(made.faults().map((fault) => [fault.reason, fault.address])).toEqual([
      [reason, BigInt(IOVA)],
      [reason, BigInt(IOVA)],
    ])
    memory.bad.clear()
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('an entry below a cached directory: 7', () => {
    const { made, memory } = board()
    const device = made.device()
    device.get(IOVA)
    memory.bad.set(L1 + 8, how)
    expect(device.get(IOVA + 0x1000)).toBe(-1n)
    expect(made.faults()).toMatchObject([{ reason: 7 }])
  })

  test('what is cached needs no memory', () => {
    const { made, memory } = board()
    const device = made.device()
    device.get(IOVA)
    for (const address of [ROOT, CONTEXT + 8 * 16, L4, L3, L2 + 8, L1]) memory.bad.set(address, how)
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test.each([0, 8])(
    'interrupt remapping entry, byte %i: reason 23 with the index [vtd.interrupt.reason-23]',
    (half) => {
      const { made, memory } = board()
      made.remapOn()
      made.entry(5, 0x0071_0001n)
      memory.bad.set(ENTRIES + 5 * 16 + half, how)
      const device = made.device()
      expect(device.message(0, 0xfee000b0)).toBe(-1)
      expect([made.read64(0x108), made.read64(0x100)]).toEqual([0x8000002300000008n, 0x0005000000000000n])
      memory.bad.clear()
      expect([device.message(0, 0xfee000b0), made.vectors()]).toEqual([1, [0x71]])
    },
  )

  test.each([0, 8])(
    'descriptor, byte %i: IQE with IQEI 2, and the queue goes on when it can be read [vtd.queue.error.info]',
    (half) => {
      const { made, memory } = board()
      made.queueOn()
      memory.bad.set(QUEUE + 16 + half, how)
      made.queue(0x12n)
      made.queue(0x12n)
      made.queue(0x1_0000_0025n, BigInt(STATUS))
      made.ring()
      made.elapse(5000)
      expect([made.read(0x34), made.read64(0x80), made.read64(0xb0)]).toEqual([0x10, 16n, 2n])
      memory.bad.clear()
      made.write(0x34, 0x10)
      made.elapse(5000)
      expect([made.load(STATUS), made.read(0x34)]).toEqual([1n, 0])
    },
  )

  test('the status word of a wait: the queue goes on', () => {
    const { made, memory } = board()
    made.queueOn()
    memory.bad.set(STATUS, how)
    made.queue(0x1_0000_0025n, BigInt(STATUS))
    made.queue(0x2_0000_0025n, BigInt(STATUS + 8))
    made.ring()
    made.elapse(5000)
    expect([made.load(STATUS), made.load(STATUS + 8), made.read(0x34)]).toEqual([0n, 2n, 0])
  })
})
