import { expect, test } from 'vitest'
import { calgaryPersonalities } from '../../src/hardware.ts'
import { CalgaryWalk, MachineTables } from '../../src/walk.ts'
import { fc, runs } from '../property.ts'
import { Board, IOVA, OTHER, TABLE } from './board.ts'

const SIZE = 0x800000
const HIGH = 0x1_0000_0000

/** The look-up once more, from the facts C.1, with 64-bit numbers. */
function reference(
  board: Board,
  legacy: bigint,
  tar: bigint,
  address: bigint,
  write: boolean,
): bigint | null | 'as it is' {
  if (address >= legacy && address < 0x100000n) return 'as it is'
  const code = tar & 7n
  const index = address / 4096n
  if (index >= 8192n << code) return null
  const at = (tar & 0x0000ffffffff8000n) + index * 8n
  if (at + 8n > BigInt(SIZE) && (at < BigInt(HIGH) || at >= BigInt(HIGH) + 0x100000n)) return null
  const bytes = new DataView(new ArrayBuffer(8))
  bytes.setBigUint64(0, board.load(Number(at)), true)
  const tce = bytes.getBigUint64(0, false)
  return (tce & (write ? 2n : 1n)) === 0n ? null : (tce & 0x0000fffffffff000n) >> 12n
}

test('any TAR, any entry, any address: the walk does what the facts say [calgary.tar.base, calgary.tar.reach, calgary.tce.rights]', () => {
  const board = new Board()
  const tables = new MachineTables(board.machine.memory)
  const walks = [calgaryPersonalities.calgary, calgaryPersonalities.calioc2].map(
    (personality) => [new CalgaryWalk(tables, personality), BigInt(personality.legacyFirst)] as const,
  )
  const tar = fc
    .tuple(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.constantFrom(0n, 0x100000n, 0x400000n, 0x1_0000_0000n, null))
    .map(([any, base]) => (base === null ? any : (any & 0xffff000000007fffn) | base))
  const address = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }),
    fc.bigInt({ min: 0n, max: 0x2ffffffn }),
    fc.constantFrom(
      0x9ffffn,
      0xa0000n,
      0xfffffn,
      0x100000n,
      0x1ffffffn,
      0x2000000n,
      0xffffffffn,
      0x100000000n,
      1n << 63n,
    ),
  )
  const property = fc.property(
    tar,
    address,
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.boolean(),
    fc.nat(1),
    (value, io, tce, write, which) => {
      const at = (value & 0x0000ffffffff8000n) + (io / 4096n) * 8n
      if (at + 8n <= BigInt(SIZE)) board.store(Number(at), tce, false)
      const [walk, legacy] = walks[which]!
      const found = walk.request(
        Number(value >> 32n) | 0,
        Number(value & 0xffffffffn) | 0,
        Number(io >> 32n) | 0,
        Number(io & 0xffffffffn) | 0,
        write ? 2 : 1,
      )
      const wanted = reference(board, legacy, value, io, write)
      if (wanted === 'as it is') expect(found).toBe(-0x100)
      else if (wanted === null) expect(found < 0 && found > -0x100).toBe(true)
      else expect(found).toBe(Number(wanted))
    },
  )
  fc.assert(property, runs(3000))
})

test('random entries, TAR writes and DMA: the detector tells exactly of what memory no longer grants [calgary.cache.detector, calgary.cache.stale]', () => {
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('entry' as const), page: fc.nat(5), frame: fc.nat(2), rights: fc.nat(3) }),
    fc.record({ kind: fc.constant('dma' as const), page: fc.nat(5), write: fc.boolean() }),
    fc.record({ kind: fc.constant('tar' as const), other: fc.boolean() }),
  )
  const shape = fc.record({
    sets: fc.constantFrom(4, 8),
    ways: fc.nat(2),
    replacement: fc.constantFrom('lru' as const, 'fifo' as const, 'random' as const),
  })
  const property = fc.property(shape, fc.array(operation, { minLength: 20, maxLength: 80 }), (cache, operations) => {
    const board = new Board({ personality: { ...calgaryPersonalities.calgary, cache } }).ordinary()
    const device = board.device()
    let told = 0
    let table = TABLE
    board.chip.onStaleHit = () => told++
    // The frame that was there when the page was last looked up in memory.
    const known = new Map<number, number>()
    const now = new Map<string, readonly [number, number]>([[`${TABLE} 0`, [0x300, 3]]])
    for (const op of operations) {
      if (op.kind === 'entry') {
        board.entry(IOVA + op.page * 4096, BigInt(0x300 + op.frame) * 4096n + BigInt(op.rights), table)
        now.set(`${table} ${op.page}`, [0x300 + op.frame, op.rights])
      } else if (op.kind === 'tar') {
        table = op.other ? OTHER : TABLE
        board.tar(BigInt(table))
      } else {
        const before = told
        const hits = board.machine.clock.snapshot().iotlbHit
        const outcome = op.write ? device.put(IOVA + op.page * 4096, 1n) : device.read(IOVA + op.page * 4096, 8)
        const hit = board.machine.clock.snapshot().iotlbHit > hits
        const [frame, rights] = now.get(`${table} ${op.page}`) ?? [0, 0]
        const allowed = (rights & (op.write ? 2 : 1)) !== 0
        // Without a hit memory decides; with one, what it was.
        if (hit) expect([outcome, told - before]).toEqual([2, allowed && known.get(op.page) === frame ? 0 : 1])
        else expect([outcome, told]).toEqual([allowed ? 2 : -1, before])
        if (!hit && allowed) known.set(op.page, frame)
      }
    }
  })
  fc.assert(property, runs(60))
})
