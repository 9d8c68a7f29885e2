/** P4: one look-up in a Calgary's table of big-endian entries and in a GART's, beside `c/translate.c`. The sums must agree. */
import { calgaryPersonalities } from '@iospace/iommu/hardware'
import { CalgaryWalk, GartWalk, MachineTables } from '@iospace/iommu/walk'
import type { Benchmark, Session } from './harness/benchmark.ts'
import { CProgram } from './harness/c-program.ts'
import { sample } from './harness/samples.ts'
import { type Addresses, OPS, TranslationBed } from './translation/translation-bed.ts'

const WRITE = 2
/** Where the tables of the C program lie: frames. */
const TCE_TABLE = 160 << 8
const GART_TABLE = 161 << 8
/** Size code of 65536 entries, of which the first 256 are behind the window that a Calgary lets pass; an aperture of 128 MiB at 0xD0000000. */
const CODE = 3
const FIRST = 256
const APERTURE_PAGE = 0xd_0000
const F3X90 = (2 << 1) | 1
const F3X94 = 0xd000_0000 / 2 ** 25

function tces(walk: CalgaryWalk, { high, low }: Addresses): number {
  let sum = 0
  for (let i = 0; i < OPS; i++) {
    const frame = walk.request(0, (TCE_TABLE << 12) | CODE, high[i]!, low[i]!, WRITE)
    sum = (sum + ((frame << 12) | (low[i]! & 0xfff))) | 0
  }
  return sum
}

function entries(walk: GartWalk, { high, low }: Addresses): number {
  let sum = 0
  for (let i = 0; i < OPS; i++) {
    const frame = walk.request(F3X90, F3X94, GART_TABLE << 4, high[i]!, low[i]!)
    sum = (sum + ((frame << 12) | (low[i]! & 0xfff))) | 0
  }
  return sum
}

async function start(): Promise<Session> {
  const bed = new TranslationBed()
  const { words, view } = bed.machine.memory
  for (const [i, frame] of bed.frames.entries()) {
    view.setUint32(TCE_TABLE * 4096 + (FIRST + i) * 8 + 4, (frame << 12) | 3)
    words[GART_TABLE * 1024 + i] = (frame << 12) | 1
  }
  const tables = new MachineTables(bed.machine.memory)
  const calgary = new CalgaryWalk(tables, calgaryPersonalities.calgary)
  const gart = new GartWalk(tables)
  const flat = bed.flat(FIRST)
  const aperture = bed.flat(APERTURE_PAGE)
  const c = CProgram.compile('translate')
  if (typeof c !== 'string') {
    const theirs = c.run()
    for (const [name, sum] of [
      ['tce', tces(calgary, flat)],
      ['gart', entries(gart, aperture)],
    ] as const)
      if (theirs[name]!.sum !== sum >>> 0)
        throw new Error(`${name}: the C program has ${theirs[name]!.sum}, we ${sum >>> 0}`)
  }
  return {
    missing: typeof c === 'string' ? { tce: c, gart: c } : {},
    round: async () => ({
      ...(typeof c === 'string' ? {} : { tce: c.run('tce')['tce']!.ns }),
      oursTce: sample(() => void tces(calgary, flat), OPS),
      ...(typeof c === 'string' ? {} : { gart: c.run('gart')['gart']!.ns }),
      oursGart: sample(() => void entries(gart, aperture), OPS),
    }),
    end: () => typeof c !== 'string' && c.remove(),
  }
}

const goal = (name: string, subject: string, baseline: string) => ({
  name,
  subject,
  baseline,
  sense: 'at most' as const,
  must: 2.9,
  stretch: 2.3,
})

export const flatTables: Benchmark = {
  id: 'P4',
  aliases: ['tce', 'gart'],
  title: 'look-ups in tables of one level',
  goals: [goal('TCE look-up / C', 'oursTce', 'tce'), goal('GART look-up / C', 'oursGart', 'gart')],
  start,
}
