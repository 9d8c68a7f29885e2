/**
 * AMD-Vi: runs episodes on both boards. Our unit must do exactly what the specification foretells, and QEMU's exactly what the
 * specification with its known deviations foretells; where the two differ, a deviation must be to blame.
 *
 * QEMU's event log is of no use (facts: never written), so what a device saw and what memory holds is compared, and no records.
 */
import type { AmdviPersonality } from '@iospace/iommu/hardware'
import { DmaOutcome } from '@iospace/machine'
import { hex } from '@iospace/wire'
import { ownAmdBoard, qemuBoard } from '../../boards/index.ts'
import { Data } from '../data.ts'
import type { KnownDeviation } from '../deviation.ts'
import type { Dma } from '../dma.ts'
import type { Failure, Lane } from '../lane.ts'
import { PAGE, READBACK } from '../memory-map.ts'
import { THRESHOLDS } from '../thresholds.ts'
import { AmdviCoverage } from './coverage.ts'
import { DEVIATIONS } from './deviates.ts'
import { ExpectedUnit } from './expected-unit.ts'
import { forecast, outcomeOf, sameForecast, type Forecast, type Outcome } from './forecast.ts'
import { generateEpisode } from './generate.ts'
import { Image } from './image.ts'
import type { AmdviEpisode, Operation } from './operation.ts'
import { describeForecast, describeOperation } from './print.ts'
import { Side } from './side.ts'
import { Tables, type Walk } from './tables.ts'
import { DEVICE_TABLE_PAGES, DEVICE_TABLES } from './world.ts'

/** Wide enough that nothing is ever put out: QEMU's cache is larger than what an episode uses, too. */
const CACHE = { sets: 1024, ways: 16 } as const
/** QEMU caches no directories. */
const NONE = { sets: 4, ways: 0 } as const
/** Blamed where each of several deviations alone would have led to the same. */
const OVERLAPPING = '(overlapping)'

export class AmdviLane implements Lane<Operation> {
  readonly title = 'AMD-Vi'
  readonly options = '--unit amdvi'
  /** So many, that the rarest things come up often enough whatever the seed. */
  readonly wholeRun = 4 * THRESHOLDS.operations
  readonly deviations: readonly KnownDeviation[]
  readonly explained = new Map<string, number>()
  readonly coverage = new AmdviCoverage()
  readonly #own: ReturnType<typeof ownAmdBoard>
  readonly #ours: Side
  readonly #qemu: Side
  readonly #tables: Tables
  readonly #data: Data
  readonly #images: readonly [ours: Image, qemu: Image]
  /** By the specification; with every known deviation; and with every one but one. */
  readonly #plain: ExpectedUnit
  readonly #deviant: ExpectedUnit
  readonly #without: ReadonlyMap<string, ExpectedUnit>
  #deviceTable = { frame: 0, pages: 0 }
  /** Of the last transfer on our board: its outcome, page by page. */
  #outcomes: number[] = []

  /** `changes` are to our unit: for runs that must find it out. */
  constructor(deviations: readonly KnownDeviation[], changes: Partial<AmdviPersonality> = {}) {
    const unknown = deviations.filter(({ id }) => !(DEVIATIONS as readonly string[]).includes(id))
    if (unknown.length > 0) throw new Error(`no such deviation: ${unknown.map(({ id }) => id).join(', ')}`)
    this.deviations = deviations
    const shapes = { iotlb: CACHE, iotlb2M: CACHE, iotlb1G: CACHE, directories: NONE }
    this.#own = ownAmdBoard({ ...shapes, ...changes })
    const { machine, memory, personality } = this.#own
    this.#tables = new Tables(machine.memory, personality)
    machine.trace = {
      ...silent,
      dma: (_time, _sbdf, _write, _address, _bytes, outcome) => void this.#outcomes.push(outcome),
    }
    const ids = new Set(deviations.map(({ id }) => id))
    this.#plain = new ExpectedUnit(memory, () => false)
    this.#deviant = new ExpectedUnit(memory, (id) => ids.has(id))
    this.#without = new Map(
      [...ids].map((left) => [left, new ExpectedUnit(memory, (id) => id !== left && ids.has(id))] as const),
    )
    this.#ours = new Side(this.#own)
    this.#qemu = new Side(qemuBoard('Amd'))
    this.#data = new Data(memory, this.#qemu.board.memory)
    this.#images = [new Image(memory), new Image(this.#qemu.board.memory)]
  }

  [Symbol.dispose](): void {
    this.#qemu.board[Symbol.dispose]()
  }

  generate(seed: number, number: number): AmdviEpisode {
    return generateEpisode(seed, number)
  }

  describe(operation: Operation): string {
    return describeOperation(operation)
  }

  run({ operations }: AmdviEpisode): Failure | null {
    this.#reset()
    const before = this.#plain.partialInvalidations
    for (const [index, operation] of operations.entries()) {
      const text = operation.kind === 'dma' ? this.#transfer(operation) : this.#command(operation)
      this.coverage.operations++
      if (text !== null) return { index, text: `${describeOperation(operation)}: ${text}` }
    }
    this.coverage.partialInvalidations += this.#plain.partialInvalidations - before
    if (this.#images.some((image) => !image.holds())) return { index: -1, text: 'data is not what it should be' }
    const at = this.#data.difference()
    return at < 0 ? null : { index: -1, text: `memory differs at the end, first at ${hex(at)}` }
  }

  #units(): ExpectedUnit[] {
    return [this.#plain, this.#deviant, ...this.#without.values()]
  }

  #reset(): void {
    const [frame, pages] = [DEVICE_TABLES[0], DEVICE_TABLE_PAGES]
    this.#data.restart()
    for (const { unit } of [this.#ours, this.#qemu]) unit.reset(this.#data.fresh)
    for (const image of this.#images) image.set(this.#data.fresh)
    this.#deviceTable = { frame, pages }
    for (const unit of this.#units()) unit.perform({ kind: 'deviceTable', frame, pages })
  }

  #command(operation: Exclude<Operation, Dma>): string | null {
    const ours = this.#ours.unit.perform(operation)
    const qemu = this.#qemu.unit.perform(operation)
    if (operation.kind === 'deviceTable') this.#deviceTable = operation
    const plain = this.#plain.perform(operation)
    const deviant = this.#deviant.perform(operation)
    const blamed = [...this.#without].filter(([, unit]) => unit.perform(operation) !== deviant).map(([id]) => id)
    const said = (result: number) => (result === 0 ? 'taken' : 'the command buffer stops')
    if (ours !== plain) return `by the specification ${said(plain)}, on our unit ${said(ours)}`
    if (qemu !== deviant) return `as far as is known of QEMU ${said(deviant)}, but ${said(qemu)}`
    return ours === qemu ? null : this.#explain(blamed, [])
  }

  #transfer(dma: Dma): string | null {
    const { frame, pages } = this.#deviceTable
    const now = this.#tables.walk(frame, pages, dma)
    const deviant = forecast(this.#deviant, dma)
    const plain = forecast(this.#plain, dma)!
    const others = [...this.#without].map(([id, unit]) => [id, forecast(unit, dma)] as const)
    if (deviant === null || reachesDevices(deviant) || reachesDevices(plain)) {
      this.coverage.leftOut++
      this.#resynchronise([])
      return null
    }
    const stored = this.#data.stored(dma.requester, dma.at, dma.length)
    const foretold = [plain, deviant].map((pagesOf) => outcomeOf(pagesOf, dma, stored, this.#own.memory)) as [
      Outcome,
      Outcome,
    ]
    this.#outcomes = []
    for (const [i, side] of [this.#ours, this.#qemu].entries()) {
      const seen = side.transfer(dma)
      this.#images[i]!.write(foretold[i]!.writes)
      if (seen === foretold[i]!.seen && wrote(side, foretold[i]!)) continue
      const who = i === 0 ? 'our unit, against the specification' : 'QEMU, against what is known of it'
      return `${who}:\n  specification: ${describeForecast(plain)}\n  QEMU: ${describeForecast(deviant)}\n  device saw ${seen}`
    }
    const agree = foretold[0].seen === foretold[1].seen && sameWrites(foretold)
    if (plain.pages.length === 1) this.#count(now, dma, plain, agree)
    if (agree) return null
    const blamed = others.filter(([, other]) => !sameForecast(other, deviant)).map(([id]) => id)
    return this.#explain(
      blamed,
      foretold.flatMap(({ writes }) => writes),
    )
  }

  #count(now: Walk, { lo }: Dma, { pages: [page] }: Forecast, agree: boolean): void {
    const outcome = this.#outcomes[0]!
    const through = outcome > 0 || outcome === DmaOutcome.unclaimed
    const stale = now.outcome < 0 ? through : page !== now.outcome * PAGE + (lo & 0xfff)
    if (stale && !agree) return
    this.coverage.transfer(through, now, stale)
  }

  // Both units did what was foretold, so the deviations explain the difference: those are to blame without which it would be another.
  #explain(blamed: readonly string[], writes: Outcome['writes']): string | null {
    for (const id of blamed.length === 0 ? [OVERLAPPING] : blamed)
      this.explained.set(id, (this.explained.get(id) ?? 0) + 1)
    this.#resynchronise(writes)
    return null
  }

  // After a known difference the two must agree again: nothing cached, and the same wherever either of them has written.
  #resynchronise(writes: Outcome['writes']): void {
    for (const { unit } of [this.#ours, this.#qemu]) unit.invalidateAll()
    for (const unit of this.#units()) unit.clear()
    const same = writes.map(({ address, bytes }) => ({ address, bytes: this.#own.memory.read(address, bytes.length) }))
    for (const { address, bytes } of same) this.#qemu.board.memory.write(address, bytes)
    this.#images[1].write(same)
  }
}

/** Registers and firmware of a PC, which a wild transfer is not to reach. */
const reachesDevices = ({ pages, readback }: Forecast): boolean =>
  [...pages, ...readback].some(
    (page) => (page > 0xa_0000 - PAGE && page < 0x10_0000) || (page > 0xe000_0000 - PAGE && page < 2 ** 32),
  )

// What was stored at the read-back page has been seen.
const wrote = ({ board }: Side, { seen, writes }: Outcome): boolean =>
  writes.every(
    ({ address, bytes }) =>
      (seen !== '' && address === READBACK * PAGE) ||
      Buffer.compare(board.memory.read(address, bytes.length), bytes) === 0,
  )

const sameWrites = ([a, b]: readonly [Outcome, Outcome]): boolean =>
  a.writes.length === b.writes.length &&
  a.writes.every(({ address, bytes }, i) => {
    const other = b.writes[i]!
    return address === other.address && Buffer.compare(bytes, other.bytes) === 0
  })

const silent = { domain() {}, device() {}, hypercall() {}, map() {}, unmap() {}, dma() {}, fault() {} }
