/**
 * P1, P2, P3 and P15: what one translation costs, beside `c/translate.c`, which has no device to look up, no reserved bits to check and no
 * fault to log. The sums of all machine addresses must agree.
 */
import { TranslationBank, vtdPersonalities, type VtdHardware } from '@iospace/iommu/hardware'
import { MachineTables, VtdWalk } from '@iospace/iommu/walk'
import type { Benchmark, Session } from './harness/benchmark.ts'
import { CProgram } from './harness/c-program.ts'
import { sample } from './harness/samples.ts'
import { type Addresses, DOMAIN, OPS, REQUESTER, TranslationBed } from './translation/translation-bed.ts'

const WRITE = 2
const BASE = vtdPersonalities['sandybridge-ep']
/** The shape of the C program's IOTLB. */
const DIRECT = { ...BASE, iotlb: { sets: 1024, ways: 1 } }
const UNCACHED = { ...BASE, iotlb: { sets: 4, ways: 0 }, directories: { sets: 4, ways: 0 } }

/** Looks every address up in the bank; the sum of the machine addresses. */
function hits(bank: TranslationBank, { high, low }: Addresses): number {
  let sum = 0
  for (let i = 0; i < OPS; i++) {
    const hi = high[i]!
    const lo = low[i]!
    sum = (sum + ((bank.find(DOMAIN, (hi << 20) | (lo >>> 12), hi >>> 12, WRITE) << 12) | (lo & 0xfff))) | 0
  }
  return sum
}

function walks(walk: VtdWalk, top: number, { high, low }: Addresses): number {
  let sum = 0
  for (let i = 0; i < OPS; i++)
    sum = (sum + ((walk.page(top, 4, high[i]!, low[i]!, WRITE) << 12) | (low[i]! & 0xfff))) | 0
  return sum
}

/** Writes `length` bytes to every address; how many arrived. */
function writes(unit: VtdHardware, { high, low }: Addresses, buffer: number, length: number): number {
  let done = 0
  for (let i = 0; i < OPS; i++) if (unit.dmaWrite(REQUESTER, high[i]!, low[i]!, buffer, length) > 0) done++
  return done
}

function reads(unit: VtdHardware, { high, low }: Addresses, buffer: number): number {
  let done = 0
  for (let i = 0; i < OPS; i++) if (unit.dmaRead(REQUESTER, high[i]!, low[i]!, buffer, 4) > 0) done++
  return done
}

function filled(bank: TranslationBank, bed: TranslationBed): TranslationBank {
  const walk = new VtdWalk(new MachineTables(bed.machine.memory), BASE.capabilities, BASE.hostAddressBits)
  const { high, low } = bed.hot
  for (let i = 0; i < OPS; i++) {
    const hi = high[i]!
    const lo = low[i]!
    bank.insert(DOMAIN, (hi << 20) | (lo >>> 12), hi >>> 12, 3, walk.page(bed.top, 4, hi, lo, WRITE))
  }
  return bank
}

async function start(): Promise<Session> {
  const bed = new TranslationBed()
  const { hot, sparse, top } = bed
  const bank = filled(new TranslationBank(DIRECT.iotlb), bed)
  const walk = new VtdWalk(new MachineTables(bed.machine.memory), BASE.capabilities, BASE.hostAddressBits)
  const cached = new TranslationBed()
  const unit = cached.unit(DIRECT)
  const bare = new TranslationBed()
  const uncached = bare.unit(UNCACHED)
  const c = CProgram.compile('translate')
  const names = ['tlb_hit', 'tlb_hit_copy64', 'walk4_hot', 'walk4_sparse']
  if (typeof c !== 'string') {
    const theirs = c.run()
    const ours = { tlb_hit: hits(bank, hot), walk4_hot: walks(walk, top, hot), walk4_sparse: walks(walk, top, sparse) }
    for (const [name, sum] of Object.entries(ours))
      if (theirs[name]!.sum !== sum >>> 0)
        throw new Error(`${name}: the C program has ${theirs[name]!.sum}, we ${sum >>> 0}`)
  }
  for (const each of [writes(unit, cached.hot, cached.buffer, 64), writes(uncached, bare.cold, bare.buffer, 64)])
    if (each !== OPS) throw new Error(`${OPS - each} DMAs were not translated`)
  return {
    missing: typeof c === 'string' ? Object.fromEntries(names.map((name) => [name, c])) : {},
    round: async () => {
      const baseline = (name: string) => (typeof c === 'string' ? {} : { [name]: c.run(name)[name]!.ns })
      return {
        ...baseline('tlb_hit'),
        hit: sample(() => void hits(bank, hot), OPS),
        ...baseline('tlb_hit_copy64'),
        hitCopy: sample(() => void writes(unit, cached.hot, cached.buffer, 64), OPS),
        ...baseline('walk4_hot'),
        walkHot: sample(() => void walks(walk, top, hot), OPS),
        ...baseline('walk4_sparse'),
        walkSparse: sample(() => void walks(walk, top, sparse), OPS),
        fourNs: 4,
        fullHit: sample(() => void reads(unit, cached.hot, cached.buffer), OPS),
        thirtyNs: 30,
        fullWalk: sample(() => void reads(uncached, bare.hot, bare.buffer), OPS),
      }
    },
    end: () => typeof c !== 'string' && c.remove(),
  }
}

export const translation: Benchmark = {
  id: 'P1',
  aliases: ['p2', 'p3', 'p15', 'translation'],
  title: 'P1, P2, P3, P15: one translation',
  goals: [
    goal('P1: IOTLB hit / C', 'hit', 'tlb_hit', 1.75, 1.5),
    goal('P2: 64-byte DMA write through an IOTLB hit / C', 'hitCopy', 'tlb_hit_copy64', 2.7, 2.2),
    goal('P3: walk of 4 levels, hot / C', 'walkHot', 'walk4_hot', 2.3, 2),
    goal('P3: walk of 4 levels, memory-bound / C', 'walkSparse', 'walk4_sparse', 1.9, 1.5),
    goal('P15: 4-byte DMA read, hit, every check / 4 ns', 'fullHit', 'fourNs', 1, 0.75),
    goal('P15: 4-byte DMA read, walk, every check / 30 ns', 'fullWalk', 'thirtyNs', 1, 0.67),
  ],
  start,
}

function goal(name: string, subject: string, baseline: string, must: number, stretch: number) {
  return { name, subject, baseline, sense: 'at most' as const, must, stretch }
}
