/**
 * `iospace walk` against the hardware models: random tables, corrupt ones too, and for each request a unit that has just been switched on
 * does the same DMA. Same machine address, or same fault and same record. fast-check prints the seed of a failure; replay it with
 * FC_SEED=<seed>.
 */
import {
  AmdviHardware,
  amdviPersonalities,
  CalgaryHardware,
  calgaryPersonalities,
  GartHardware,
  gartPersonalities,
  VtdHardware,
  vtdPersonalities,
} from '@iospace/iommu/hardware'
import { Count, Random } from '@iospace/machine'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DATA_FRAME, type Dma, FRAMES, oneOf, rarely, WalkBoard } from './walk-board.ts'
import { type Result, results, type Step } from './walk-file.ts'

const TABLES = 2000
const REQUESTS = 8
const { FC_SEED } = process.env

/** Runs `one` on as many tables as wanted; `seen` counts what happened. */
async function differential(
  one: (board: WalkBoard, seen: (what: string) => void) => Promise<void>,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  const seen = (what: string) => void counts.set(what, (counts.get(what) ?? 0) + 1)
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 0xffff_ffff }), (seed) => one(new WalkBoard(new Random(seed)), seen)),
    { numRuns: TABLES, endOnFailure: true, ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) },
  )
  return counts
}

const what = ({ fault, pageSize, interrupt }: Result): string =>
  interrupt === true ? 'interrupt' : fault === undefined ? `page of ${pageSize}` : `fault ${fault.code}`

/** What a tree tells beside the outcome: an entry is shown with reserved bits when they are the fault, and never when there is none. */
function checkSteps({ fault, pageSize, access, steps }: Result): void {
  const hasReserved = ({ bits }: Step) => Object.keys(bits).some((name) => name.startsWith('reserved'))
  if (fault?.name.includes('reserved bits') === true) expect(hasReserved(steps.at(-1)!)).toBe(true)
  if (fault === undefined) expect(steps.some(hasReserved)).toBe(false)
  if (pageSize !== undefined && steps.length > 0) expect(steps.at(-1)!.access).toBe(access)
}

/** An address whose table indices are few, so that it finds entries: `levels` of 9 bits. */
function address(random: Random, levels: number): bigint {
  let page = BigInt(random.below(16))
  for (let level = 2; level <= levels; level++) page |= BigInt(oneOf(random, [0, 0, 0, 1])) << BigInt(9 * (level - 1))
  if (rarely(random, 30)) page |= 1n << BigInt(random.below(52))
  if (rarely(random, 40)) page = 0xfee00n + BigInt(random.below(256))
  return (page << 12n) | BigInt(random.below(4096))
}

function dma(random: Random, requester: number, at: bigint, shortest: (write: boolean) => number): Dma {
  const write = rarely(random, 2)
  const room = 4096 - Number(at & 0xfffn)
  const length = rarely(random, 10) ? shortest(write) : oneOf(random, [1, 4, 8, 64, 4096])
  return { requester, write, address: at, length: Math.min(length, room) }
}

/** Frames that entries name: tables 1 to 11, data, nothing, the interrupt window, no RAM. */
const frame = (random: Random): bigint =>
  rarely(random, 10)
    ? oneOf(random, [0xfee01n, 0xfee01n, 0x12345n, BigInt(FRAMES), 0n])
    : BigInt(1 + random.below(DATA_FRAME))

/** Now and then one of `bits`. */
const noise = (random: Random, bits: readonly number[], times = 30): bigint =>
  rarely(random, times) ? 1n << BigInt(oneOf(random, bits)) : 0n

test('VT-d: 2,000 random tables, reasons and records as the hardware has them', { timeout: 300_000 }, async () => {
  const counts = await differential(async (board, seen) => {
    const { random, machine } = board
    const personality = oneOf(random, Object.values(vtdPersonalities))
    const { capabilities } = personality
    const supported = [3, 4, 5].filter((levels) => (capabilities.levels & (1 << levels)) !== 0)
    const devices = [0x08, 0x09, 0x1ff, 0x0100]
    for (const bus of [0, 1]) {
      const table = rarely(random, 40) ? frame(random) : 2n + BigInt(bus)
      board.set(
        0x1000 + 16 * bus,
        (table << 12n) | (rarely(random, 60) ? 0n : 1n) | noise(random, [1, 11, 39, 46, 52, 63]),
      )
      if (rarely(random, 60)) board.set(0x1008 + 16 * bus, 1n << BigInt(random.below(64)))
    }
    for (const device of devices) {
      const at = 0x2000 + (device >> 8) * 0x1000 + (device & 0xff) * 16
      const type = rarely(random, 8) ? BigInt(random.below(4)) : 0n
      const levels = rarely(random, 24) ? 2 + random.below(6) : oneOf(random, supported)
      const low =
        (BigInt(4 + random.below(3)) << 12n) |
        (type << 2n) |
        (rarely(random, 3) ? 2n : 0n) |
        (rarely(random, 50) ? 0n : 1n)
      board.set(at, low | noise(random, [4, 11, 40, 47, 63]))
      board.set(
        at + 8,
        BigInt(levels - 2) | (BigInt(random.below(256)) << 8n) | noise(random, [3, 6, 7, 16, 23, 24, 63]),
      )
    }
    for (let table = 4; table < DATA_FRAME; table++)
      for (let index = 0; index < 16; index++) {
        const rights = BigInt(oneOf(random, [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 2, 0]))
        const large = rarely(random, 10) ? 0x80n : 0n
        const page = large !== 0n && !rarely(random, 6) ? 0n : frame(random)
        const mark = noise(random, [2, 6, 8, 10, 11, 38, 39, 45, 46, 47, 48, 51, 52, 61, 62, 63])
        board.set(table * 0x1000 + index * 8, (page << 12n) | large | rights | mark)
      }
    const root = rarely(random, 30) ? oneOf(random, [BigInt(FRAMES), frame(random)]) : 1n
    const requests = Array.from({ length: REQUESTS }, () =>
      dma(random, oneOf(random, devices), address(random, Math.max(...supported)), (write) => (write ? 1 : 0)),
    )
    const registers = { RTADDR: `0x${(root << 12n).toString(16)}` }
    const found = await results(board.file({ iommu: 'vtd', personality: personality.name, registers }, requests))

    requests.forEach((request, i) => {
      const result = found[i]!
      seen(`${what(result)}${result.record === null ? ', silent' : ''}`)
      checkSteps(result)
      if (result.interrupt === true) {
        expect(request.address >> 20n).toBe(0xfeen)
        return
      }
      const unit = new VtdHardware(machine, personality)
      unit.write32(0x20, Number(root << 12n) | 0)
      unit.write32(0x24, Number(root >> 20n))
      for (const command of [0x40000000, 0x80000000]) {
        unit.write32(0x18, command | 0)
        machine.clock.charge(Count.relax, 200)
      }
      board.compare(unit.translator, request, result)
      const at = capabilities.faultRecordOffset
      const [w0, w1, w2, w3] = [0, 4, 8, 12].map((offset) => BigInt(unit.read32(at + offset) >>> 0))
      const record = result.record ?? { words: ['0x0', '0x0'] }
      expect([(w1! << 32n) | w0!, (w3! << 32n) | w2!]).toEqual(record.words.map(BigInt))
      board.restore()
    })
  })
  for (const reason of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14])
    expect(counts.get(`fault ${reason}`), `reason ${reason}`).toBeGreaterThan(5)
  for (const reason of [2, 3, 4, 5, 6, 7, 11, 12, 14])
    expect(counts.get(`fault ${reason}, silent`), `reason ${reason}, silent`).toBeGreaterThan(1)
  for (const size of [0, 4096, 2 ** 21, 2 ** 30])
    expect(counts.get(`page of ${size}`), `pages of ${size}`).toBeGreaterThan(50)
})

/** Frames of AMD-Vi's tables, with their levels. */
const AMDVI_TABLES = [
  [4, 6],
  [5, 5],
  [6, 4],
  [7, 3],
  [8, 3],
  [9, 2],
  [10, 1],
  [11, 1],
] as const

/** Mostly the frame of a table of `level`. */
function tableOf(random: Random, level: number): bigint {
  const fitting = AMDVI_TABLES.filter((table) => table[1] === level)
  return rarely(random, 12) || fitting.length === 0 ? frame(random) : BigInt(oneOf(random, fitting)[0])
}

test('AMD-Vi: 2,000 random tables, events as the hardware logs them', { timeout: 300_000 }, async () => {
  const LOG = 32
  const counts = await differential(async (board, seen) => {
    const { random, machine } = board
    const personality = oneOf(random, Object.values(amdviPersonalities))
    const { features } = personality
    const devices = [0x08, 0x09, 0x88, 0x108]
    for (const device of devices.slice(0, 3)) {
      const at = 0x1000 + device * 32
      const rights = BigInt(oneOf(random, [3, 3, 3, 3, 3, 3, 3, 3, 1, 2, 0])) << 61n
      const mode = rarely(random, 20) ? random.below(8) : 1 + random.below(features.levels)
      const valid = rarely(random, 20) ? BigInt(random.below(4)) : 3n
      const marks = BigInt(oneOf(random, [0, 0, 1, 3])) << 7n
      const table = tableOf(random, mode) << 12n
      board.set(at, table | rights | (BigInt(mode) << 9n) | valid | marks | noise(random, [2, 6, 63]))
      board.set(at + 8, BigInt(random.below(0x10000)) | (BigInt(oneOf(random, [0, 0, 0, 1, 2, 3])) << 33n))
    }
    for (const [table, level] of AMDVI_TABLES)
      for (let index = 0; index < 16; index++) {
        const kind = rarely(random, 12)
          ? random.below(8)
          : level === 1
            ? 0
            : oneOf(random, [level - 1, level - 1, level - 1, 0, 7, 1])
        const next = kind === 0 && rarely(random, 4) ? 7 : kind
        const size = 9 * (level - 1) + random.below(rarely(random, 9) ? 12 : 8)
        const to =
          next === 7 ? (1n << BigInt(Math.min(size, 40))) - 1n : next === 0 && level > 1 ? 0n : tableOf(random, next)
        const rights = BigInt(oneOf(random, [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 2, 0])) << 61n
        const mark = noise(random, [1, 4, 5, 6, 7, 8, 52, 57, 58, 59, 60, 63])
        const present = rarely(random, 16) ? 0n : 1n
        board.set(table * 0x1000 + index * 8, (to << 12n) | rights | (BigInt(next) << 9n) | mark | present)
      }
    const tables = rarely(random, 2) ? frame(random) : BigInt(FRAMES + random.below(4))
    const base = rarely(random, 20) ? (tables << 12n) | BigInt(random.below(3)) : 0x1001n
    const requests = Array.from({ length: REQUESTS }, () => {
      const at = rarely(random, 60)
        ? 0xfdf8000000n + BigInt(random.below(1 << 20))
        : address(random, oneOf(random, [1, 2, 3, 4, 6]))
      return dma(random, oneOf(random, devices), at, () => 1)
    })
    const registers = { DevTabBase: `0x${base.toString(16)}` }
    const found = await results(board.file({ iommu: 'amdvi', personality: personality.name, registers }, requests))

    requests.forEach((request, i) => {
      const result = found[i]!
      seen(`${what(result)}${result.record === null ? ', silent' : ''}`)
      checkSteps(result)
      if (result.interrupt === true) {
        expect([request.address >> 20n, request.write, request.length]).toEqual([0xfeen, true, 4])
        return
      }
      const unit = new AmdviHardware(machine, personality)
      unit.write32(0x00, Number(base & 0xffffffffn) | 0)
      unit.write32(0x04, Number(base >> 32n))
      unit.write32(0x10, LOG << 12)
      unit.write32(0x14, 0x08000000)
      unit.write32(0x18, 0x5)
      board.compare(unit.translator, request, result)
      const log = [0, 8].map((at) => machine.memory.view.getBigUint64(LOG * 4096 + at, true))
      expect(log).toEqual((result.record ?? { words: ['0x0', '0x0'] }).words.map(BigInt))
      expect(unit.read32(0x2018)).toBe(result.record ? 16 : 0)
      board.restore()
    })
  })
  for (const code of [1, 2, 3, 4, 8]) expect(counts.get(`fault ${code}`), `event ${code}`).toBeGreaterThan(20)
  expect(counts.get('fault 2, silent')).toBeGreaterThan(20)
  for (const size of [0, 2 ** 12, 2 ** 13, 2 ** 16, 2 ** 21, 2 ** 30])
    expect(counts.get(`page of ${size}`), `pages of ${size}`).toBeGreaterThan(5)
})

test('Calgary: 2,000 random tables', { timeout: 300_000 }, async () => {
  const counts = await differential(async (board, seen) => {
    const { random, machine } = board
    const personality = oneOf(random, Object.values(calgaryPersonalities))
    // The table of code 0 has 16 frames: from 0x20000.
    const pages = [0, 1, 2, 159, 160, 255, 256, 511, 512, 8191]
    for (const page of pages) {
      const rights = BigInt(oneOf(random, [3, 3, 3, 1, 2, 0]))
      board.set(0x20000 + page * 8, (frame(random) << 12n) | rights | noise(random, [2, 11, 47, 48, 63]), false)
    }
    const tars = Array.from({ length: 4 }, () => {
      const table = rarely(random, 6) ? oneOf(random, [0x0n, 0x8000n, 0x38000n, 0x40000n, 0xffffffff8000n]) : 0x20000n
      return table | BigInt(rarely(random, 3) ? random.below(16) : 0) | noise(random, [4, 14, 48, 63])
    })
    const requests = Array.from({ length: REQUESTS }, () => {
      const page = rarely(random, 6)
        ? BigInt(oneOf(random, [8192, 16384, 2 ** 19, 2 ** 20, 2 ** 40])) - BigInt(random.below(2))
        : BigInt(oneOf(random, pages))
      return dma(random, random.below(1024), (page << 12n) | BigInt(random.below(4096)), () => 1)
    })
    const registers = Object.fromEntries(tars.map((tar, i) => [`TAR${i}`, `0x${tar.toString(16)}`]))
    const found = await results(board.file({ iommu: 'calgary', personality: personality.name, registers }, requests))

    requests.forEach((request, i) => {
      const result = found[i]!
      seen(what(result))
      checkSteps(result)
      const unit = new CalgaryHardware(machine, personality)
      // Registers are big-endian.
      const write = (offset: number, value: number) =>
        unit.write32(offset, new DataView(Uint32Array.of(value).buffer).getInt32(0, false))
      tars.forEach((tar, bus) => {
        write(0x4020 + bus * 0x1000, (bus << 16) | (bus << 8))
        write(0x580 + bus * 8, Number(tar >> 32n))
        write(0x584 + bus * 8, Number(tar & 0xffffffffn))
        // TCE_ENABLE.
        write(0x8160 + bus * 0x1000, 0x20000000)
      })
      unit.read32(0x580)
      board.compare(unit, request, result)
      board.restore()
    })
  })
  for (const kind of ['page of 4096', 'page of 0', 'fault 0']) expect(counts.get(kind), kind).toBeGreaterThan(500)
})

test('GART: 2,000 random tables', { timeout: 300_000 }, async () => {
  const counts = await differential(async (board, seen) => {
    const { random, machine } = board
    const order = random.below(rarely(random, 10) ? 8 : 7)
    const control = (order << 1) | (rarely(random, 12) ? random.below(128) & 0x71 : 1)
    const base = oneOf(random, [0, 0x20, 0x40, 0x60, 0x7fc0]) + (rarely(random, 6) ? random.below(64) : 0)
    const table = rarely(random, 12) ? random.below(0x100) << 4 : 0x40
    for (let page = 0; page < 16; page++) {
      const valid = rarely(random, 8) ? 0n : 1n
      const entry = (frame(random) << 12n) | valid | noise(random, [1, 2, 3, 4, 11])
      machine.memory.view.setUint32(0x4000 + page * 4, Number(BigInt.asUintN(32, entry)), true)
    }
    const first = (BigInt(base) << 25n) & -(1n << BigInt(25 + Math.min(order, 6)))
    const requests = Array.from({ length: REQUESTS }, () => {
      const page = rarely(random, 5)
        ? BigInt(oneOf(random, [-1, 8192, 65536, 2 ** 19, 2 ** 28]))
        : BigInt(random.below(16))
      const at = BigInt.asUintN(64, first + page * 4096n + BigInt(random.below(4096)))
      // What the model takes for interrupt messages is no matter of the table.
      return dma(random, random.below(0x10000), at >> 20n === 0xfeen ? at + 0x100000n : at, () => 1)
    })
    const registers = {
      F3x90: `0x${control.toString(16)}`,
      F3x94: `0x${base.toString(16)}`,
      F3x98: `0x${table.toString(16)}`,
    }
    const found = await results(board.file({ iommu: 'gart', personality: 'k8', registers }, requests))

    requests.forEach((request, i) => {
      const result = found[i]!
      seen(what(result))
      checkSteps(result)
      const unit = new GartHardware(machine, gartPersonalities.k8)
      const [node] = unit.nodes
      node!.configWrite(0x94, 4, base)
      node!.configWrite(0x98, 4, table)
      node!.configWrite(0x90, 4, control)
      board.compare(unit.translator, request, result)
      board.restore()
    })
  })
  for (const kind of ['page of 4096', 'page of 0', 'fault 0']) expect(counts.get(kind), kind).toBeGreaterThan(500)
})
