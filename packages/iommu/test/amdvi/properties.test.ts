import { expect, test } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { amdvi } from '../../src/spec.ts'
import { AmdviNeed, AmdviWalk, type AmdviWalkObserver, MachineTables } from '../../src/walk.ts'
import { fc, runs } from '../property.ts'
import { Board } from './board.ts'

const { Fault } = amdvi
/** Levels by personality, as facts B.2 has HATS: 0 is 4, 1 is 5, 2 is 6. */
const LEVELS = { qemu: 6, hats4: 4, hats5: 5, hats6: 6 } as const
const [DEVICES, TABLES] = [0x10000, 0x20000]
const SHIFT = [0, 12, 21, 30, 39, 48, 57]
const ADDRESS = 0xffffffffff000n

interface Found {
  readonly result: number
  readonly rights?: bigint
  readonly size?: number
}

/** A walk written from the facts B.3 and B.4 with 64-bit numbers, for comparison. */
function reference(board: Board, maxLevels: number, requester: number, address: bigint, write: boolean): Found {
  const field = (value: bigint, high: number, low: number) =>
    (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n)
  const read = (at: bigint): bigint | null => {
    const frame = Number(at >> 12n)
    return frame < 1024 || (frame >= 0x100000 && frame < 0x100400) ? board.load(Number(at)) : null
  }
  const fault = (number: number): Found => ({ result: -number })
  const frames = (value: bigint): Found => ({ result: Number(value >> 12n), rights: 3n })
  if (requester >= 128) return fault(Fault.deviceBeyondTable)
  const entry = read(BigInt(DEVICES + requester * 32))!
  if (field(entry, 0, 0) === 0n) return frames(address)
  if (field(entry, 6, 2) !== 0n || field(entry, 63, 63) !== 0n) return fault(Fault.deviceReserved)
  if (field(entry, 1, 1) === 0n) return fault(Fault.translationInvalid)
  const need = write ? 2n : 1n
  const top = field(entry, 62, 61)
  if ((top & need) === 0n) return fault(Fault.permission)
  const mode = Number(field(entry, 11, 9))
  if (mode === 0) return { ...frames(address), rights: top }
  if (mode > maxLevels) return fault(Fault.modeInvalid)
  if (mode < 6 && address >> BigInt(12 + 9 * mode) !== 0n) return fault(Fault.beyondWidth)
  let table = entry & ADDRESS
  let rights = top
  for (let level = mode; ;) {
    const index = field(address, level === 6 ? 63 : SHIFT[level]! + 8, SHIFT[level]!)
    const value = read(table + index * 8n)
    if (value === null) return fault(Fault.pageTableAccess)
    if (field(value, 0, 0) === 0n) return fault(Fault.notPresent)
    const next = Number(field(value, 11, 9))
    const isLeaf = next === 0 || next === 7
    if (field(value, isLeaf ? 58 : 60, 52) !== 0n) return fault(Fault.pageReserved)
    rights &= field(value, 62, 61)
    if ((rights & need) === 0n) return fault(Fault.permission)
    if (isLeaf) {
      let size = SHIFT[level]!
      if (next === 7) {
        size = 12
        while (size < 52 && field(value, size, size) === 1n) size++
        size++
        if (level === 6 || size <= SHIFT[level]! || size >= SHIFT[level + 1]!) return fault(Fault.sizeInvalid)
      } else if (level === 6) return fault(Fault.levelInvalid)
      const inside = (1n << BigInt(size)) - 1n
      return { ...frames((value & ADDRESS & ~inside) | (address & inside)), rights, size }
    }
    if (next >= level) return fault(Fault.levelInvalid)
    if (next < level - 1 && field(address, SHIFT[level]! - 1, SHIFT[next + 1]!) !== 0n)
      return fault(Fault.skippedNotZero)
    table = value & ADDRESS
    level = next
  }
}

/** `usual`, or now and then something else. */
const often = <T>(usual: T, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 15, arbitrary: fc.constant(usual) }, { weight: 2, arbitrary: other })

test('the walk against one with 64-bit numbers, on tables with flipped bits; with and without an observer (B.3, B.4) [amdvi.walk.model]', () => {
  const input = fc.record({
    name: fc.constantFrom(...(Object.keys(LEVELS) as (keyof typeof LEVELS)[])),
    requester: often(8, fc.constantFrom(127, 128, 4000)),
    v: often(3n, fc.constantFrom(0n, 1n, 2n)),
    mode: fc.constantFrom(0, 1, 2, 3, 4, 4, 4, 5, 6, 7),
    /** Levels that have a table, from the second on. */
    steps: fc.oneof(fc.constant(Array<boolean>(7).fill(true)), fc.array(fc.boolean(), { minLength: 7, maxLength: 7 })),
    leafLevel: fc.constantFrom(1, 1, 2, 3, 4, 5, 6),
    order: fc.nat(8),
    sized: fc.boolean(),
    rights: fc.array(often(3n, fc.constantFrom(0n, 1n, 2n)), { minLength: 8, maxLength: 8 }),
    target: fc.oneof(fc.nat(2047), fc.constantFrom(0xfee00, 0x100000, 0xc0000, 2 ** 31 + 5, 2 ** 39 + 1)),
    address: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    /** Address bits, from those of the mode. */
    wider: often(0, fc.integer({ min: -20, max: 20 })),
    skippedZero: fc.boolean(),
    write: fc.boolean(),
    flips: fc.array(fc.record({ entry: fc.nat(6), bit: fc.nat(63) }), { maxLength: 2 }),
  })
  const faults = new Map<number, number>()
  const board = new Board()
  const tables = new MachineTables(board.machine.memory)
  const walks = Object.fromEntries(
    Object.entries(amdviPersonalities).map(([name, { features }]) => [name, new AmdviWalk(tables, features)]),
  )
  const property = fc.property(input, (given) => {
    const { name, requester, v, mode, steps, rights, write } = given
    board.machine.memory.fill(DEVICES, 0, 0x20000)
    // From the mode down to the leaf, with the levels between as they are chosen.
    const leafLevel = Math.min(given.leafLevel, Math.max(1, mode))
    const levels = [mode, ...[5, 4, 3, 2, 1].filter((level) => level < mode && level > leafLevel && steps[level])]
    if (leafLevel < mode) levels.push(leafLevel)
    let address =
      given.address & ((1n << BigInt(Math.min(64, Math.max(12, (mode > 5 ? 64 : 12 + 9 * mode) + given.wider)))) - 1n)
    if (given.skippedZero) {
      for (let level = mode - 1; level > 0; level--)
        if (!levels.includes(level) && level > leafLevel) address &= ~(511n << BigInt(SHIFT[level]!))
    }
    const at: number[] = [DEVICES + (requester % 128) * 32]
    board.store(at[0]!, BigInt(TABLES) | v | (BigInt(mode) << 9n) | (rights[7]! << 61n))
    if (mode > 0) {
      levels.forEach((level, i) => {
        const index = Number((address >> BigInt(SHIFT[level] ?? 57)) & (level >= 6 ? 127n : 511n))
        const next = levels[i + 1]
        const sized = given.sized && level < 6
        const ones = sized ? (1n << BigInt(SHIFT[level]! + given.order - 12)) - 1n : 0n
        const page = sized ? (BigInt(given.target) & ~((ones << 1n) | 1n)) | ones : BigInt(given.target)
        const value =
          next === undefined
            ? (page << 12n) | (sized ? 7n << 9n : 0n)
            : BigInt(TABLES + (i + 1) * 0x1000) | (BigInt(next) << 9n)
        const where = TABLES + i * 0x1000 + index * 8
        board.store(where, value | 1n | (rights[i]! << 61n))
        at.push(where)
      })
    }
    for (const { entry, bit } of given.flips) {
      const where = at[entry % at.length]!
      board.store(where, board.load(where) ^ (1n << BigInt(bit)))
    }
    const walk = walks[name]!
    const seen: number[] = []
    const observer: AmdviWalkObserver = { device: () => seen.push(0), entry: (level) => seen.push(level) }
    const [hi, lo] = [Number(address >> 32n) | 0, Number(address & 0xffffffffn) | 0]
    const wanted = reference(board, LEVELS[name], requester, address, write)
    faults.set(Math.min(wanted.result, 0), (faults.get(Math.min(wanted.result, 0)) ?? 0) + 1)
    const need = write ? AmdviNeed.write : AmdviNeed.read
    for (const keepPath of [false, true]) {
      for (const told of [null, observer]) {
        walk.reads = 0
        walk.keepPath = keepPath
        seen.length = 0
        expect(walk.request(DEVICES >> 12, 1, requester, hi, lo, need, told)).toBe(wanted.result)
        if (wanted.rights !== undefined) expect(walk.pageRights).toBe(Number(wanted.rights))
        if (wanted.size !== undefined) expect(walk.pageShift).toBe(wanted.size)
        if (told !== null) expect(seen.length).toBe(walk.reads)
      }
    }
  })
  fc.assert(property, runs(4000))
  // The test means something only if it met successes and each fault of a walk.
  const { interruptReserved, deviceTableAccess, ...ofWalks } = Fault
  for (const fault of Object.values(ofWalks))
    if (fault < interruptReserved) expect([fault, faults.has(-fault)]).toEqual([fault, true])
  expect([faults.get(0)! > 500, faults.has(-deviceTableAccess)]).toEqual([true, false])
}, 120_000)
