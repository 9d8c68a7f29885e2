/** VT-d. */
import type { VtdPersonality } from '@iospace/iommu/hardware'
import { ownBoard, qemuBoard } from '../../boards/index.ts'
import type { KnownDeviation } from '../deviation.ts'
import type { ExpectedUnit } from '../expected-unit.ts'
import { ForecastLane } from '../forecast-lane.ts'
import { PAGE } from '../memory-map.ts'
import { Side } from '../side.ts'
import { THRESHOLDS } from '../thresholds.ts'
import { VtdCoverage } from './coverage.ts'
import { isDeviation } from './deviates.ts'
import { ExpectedVtd } from './expected-unit.ts'
import { hasPasid, reasonOf, withoutPasid } from './faults.ts'
import { generateEpisode } from './generate.ts'
import type { Operation, Transfer, VtdEpisode } from './operation.ts'
import { describeOperation } from './print.ts'
import { Tables } from './tables.ts'
import { VtdUnit } from './unit.ts'

/** So many operations, that the rarest things come up often enough whatever the seed. */
const WHOLE_RUN = 2 * THRESHOLDS.operations
/** Wide enough that nothing is ever put out: QEMU's cache is larger than what an episode uses, too. */
const CACHE = { sets: 1024, ways: 16 } as const
/** QEMU caches no directories. */
const NONE = { sets: 4, ways: 0 } as const
const PASID = 'pasid-without-pp'

export class VtdLane extends ForecastLane<Operation, Transfer> {
  readonly title: string
  readonly options: string
  readonly wholeRun: number
  readonly coverage: VtdCoverage
  readonly #addressBits: 39 | 48
  readonly #units: readonly VtdUnit[]
  readonly #tables: Tables

  /** `changes` are to our unit: for runs that must find it out. */
  constructor(
    addressBits: 39 | 48,
    deviations: readonly KnownDeviation[],
    { wholeRun = WHOLE_RUN, ...changes }: Partial<VtdPersonality> & { readonly wholeRun?: number } = {},
  ) {
    const shapes = { iotlb: CACHE, iotlb2M: CACHE, iotlb1G: CACHE, directories: NONE }
    const own = ownBoard(addressBits, { ...shapes, collapseFaults: true, ...changes })
    const units = [own, qemuBoard(addressBits)].map((board) => new VtdUnit(board))
    const [ours, qemu] = units.map((unit) => new Side<Operation, Transfer>(unit.board, unit))
    super({
      ours: ours!,
      qemu: qemu!,
      deviations: deviations.filter(isDeviation),
      expected: (deviates) => new ExpectedVtd(own.memory, addressBits, deviates),
    })
    this.title = `VT-d, ${addressBits} bits`
    this.options = `--unit vtd --bits ${addressBits}`
    this.wholeRun = wholeRun
    this.coverage = new VtdCoverage(addressBits === 39 ? [3] : [3, 4])
    this.#addressBits = addressBits
    this.#units = units
    this.#tables = new Tables(own.machine.memory, own.personality)
  }

  generate(seed: number, number: number): VtdEpisode {
    return generateEpisode(seed, number, this.#addressBits)
  }

  describe(operation: Operation): string {
    return describeOperation(operation)
  }

  protected restart({ queued }: VtdEpisode) {
    for (const unit of this.#units) unit.reset(queued, this.data.fresh)
    return (unit: ExpectedUnit<Operation, Transfer>) => (unit as ExpectedVtd).restart(queued)
  }

  protected override heard(told: string): string {
    if (!hasPasid(told) || !this.deviations.some(({ id }) => id === PASID)) return told
    this.explain(PASID)
    return withoutPasid(told)
  }

  protected counting(dma: Transfer) {
    const now = this.#tables.walk(this.#units[0]!.root, dma)
    const there = now.outcome < 0 ? -1 : now.outcome * PAGE + (dma.lo & 0xfff)
    return (page: number, told: string, agree: boolean) => {
      if (agree || page === there) this.coverage.transfer(page >= 0, now, reasonOf(told), page !== there)
    }
  }
}
