/** Growth: a mapping costs the same among 10 and 10⁶ live ones, in the first and the thousandth domain, for one device and for 256. */
import type { Benchmark, Session } from './harness/benchmark.ts'
import { sample } from './harness/samples.ts'
import { LIST, type Mapper, withDevices, withDomains, withMappings } from './growth/growth-bed.ts'

const CURVES: readonly { what: string; sizes: readonly number[]; make: (size: number) => Mapper[] }[] = [
  {
    what: 'live mappings',
    sizes: [10, 100, 1000, 10_000, 100_000, 1_000_000],
    make: (size) => [withMappings(size)],
  },
  { what: 'domains', sizes: [1, 10, 100, 1000], make: withDomains },
  { what: 'devices', sizes: [1, 4, 16, 64, 256], make: withDevices },
]
/** Lists of one sample. */
const TURNS = 1024
/** Larger than this is not flat: caches of the host explain less. */
const FLAT = 2

const measureOf = (what: string, size: number): string => `${what} ${size}`

async function start(): Promise<Session> {
  const beds = CURVES.map(({ what, sizes, make }) => ({ what, sizes, mappers: sizes.map(make) }))
  return {
    missing: {},
    round: async () => {
      const result: Record<string, number> = {}
      for (const { what, sizes, mappers } of beds) {
        for (const [i, some] of mappers.entries())
          result[measureOf(what, sizes[i]!)] = sample(() => {
            for (let turn = 0; turn < TURNS; turn++) some[turn % some.length]!.turn()
          }, TURNS * LIST)
      }
      return result
    },
    end: () => {},
  }
}

export const growth: Benchmark = {
  id: 'growth',
  aliases: [],
  title: 'cost of a mapping as the system grows',
  goals: CURVES.flatMap(({ what, sizes }) =>
    sizes.slice(1).map((size) => ({
      name: `map + unmap of a page, ${size} ${what} / ${sizes[0]}`,
      subject: measureOf(what, size),
      baseline: measureOf(what, sizes[0]!),
      sense: 'at most' as const,
      must: FLAT,
      stretch: null,
    })),
  ),
  start,
}
