/** AMD-Vi. QEMU's event log is of no use (facts: never written), so no records are compared. */
import type { AmdviPersonality } from '@iospace/iommu/hardware'
import { ownAmdBoard, qemuBoard } from '../../boards/index.ts'
import type { KnownDeviation } from '../deviation.ts'
import type { Dma } from '../dma.ts'
import type { ExpectedUnit } from '../expected-unit.ts'
import { ForecastLane } from '../forecast-lane.ts'
import { PAGE } from '../memory-map.ts'
import { Side } from '../side.ts'
import { THRESHOLDS } from '../thresholds.ts'
import { AmdviCoverage } from './coverage.ts'
import { isDeviation } from './deviates.ts'
import { ExpectedAmdvi } from './expected-unit.ts'
import { generateEpisode } from './generate.ts'
import type { AmdviEpisode, Operation } from './operation.ts'
import { describeOperation } from './print.ts'
import { Tables } from './tables.ts'
import { AmdviUnit } from './unit.ts'
import { DEVICE_TABLE_PAGES, DEVICE_TABLES } from './world.ts'

/** Wide enough that nothing is ever put out: QEMU's cache is larger than what an episode uses, too. */
const CACHE = { sets: 1024, ways: 16 } as const
/** QEMU caches no directories. */
const NONE = { sets: 4, ways: 0 } as const

export class AmdviLane extends ForecastLane<Operation, Dma> {
  readonly title = 'AMD-Vi'
  readonly options = '--unit amdvi'
  /** So many, that the rarest things come up often enough whatever the seed. */
  readonly wholeRun = 4 * THRESHOLDS.operations
  readonly coverage = new AmdviCoverage()
  readonly #units: readonly AmdviUnit[]
  readonly #tables: Tables
  #deviceTable = { frame: 0, pages: 0 }

  /** `changes` are to our unit: for runs that must find it out. */
  constructor(deviations: readonly KnownDeviation[], changes: Partial<AmdviPersonality> = {}) {
    const shapes = { iotlb: CACHE, iotlb2M: CACHE, iotlb1G: CACHE, directories: NONE }
    const own = ownAmdBoard({ ...shapes, ...changes })
    const units = [own, qemuBoard('Amd')].map((board) => new AmdviUnit(board))
    const [ours, qemu] = units.map((unit) => new Side(unit.board, unit))
    super({
      ours: ours!,
      qemu: qemu!,
      deviations: deviations.filter(isDeviation),
      expected: (deviates) => new ExpectedAmdvi(own.memory, deviates),
    })
    this.#units = units
    this.#tables = new Tables(own.machine.memory, own.personality)
  }

  generate(seed: number, number: number): AmdviEpisode {
    return generateEpisode(seed, number)
  }

  describe(operation: Operation): string {
    return describeOperation(operation)
  }

  protected restart() {
    for (const unit of this.#units) unit.reset(this.data.fresh)
    const table = { kind: 'deviceTable', frame: DEVICE_TABLES[0], pages: DEVICE_TABLE_PAGES } as const
    this.#deviceTable = table
    return (unit: ExpectedUnit<Operation, Dma>) => void unit.perform(table)
  }

  protected override carriedOut(operation: Operation): void {
    if (operation.kind === 'deviceTable') this.#deviceTable = operation
  }

  protected counting(dma: Dma) {
    const { frame, pages } = this.#deviceTable
    const now = this.#tables.walk(frame, pages, dma)
    const there = now.outcome < 0 ? -1 : now.outcome * PAGE + (dma.lo & 0xfff)
    return (page: number, _told: string, agree: boolean) => {
      if (agree || page === there) this.coverage.transfer(page >= 0, now, page !== there)
    }
  }
}
