/**
 * A lane whose every step is foretold. Our unit must do exactly what the specification foretells, and QEMU's exactly what the
 * specification with its known deviations foretells. Where the two differ, those deviations are to blame without which the forecast for
 * QEMU would be another.
 */
import type { Board } from '../boards/index.ts'
import { Data } from './data.ts'
import type { KnownDeviation } from './deviation.ts'
import type { Dma } from './dma.ts'
import type { ExpectedUnit } from './expected-unit.ts'
import { describeForecast, forecast, outcomeOf, sameForecast, sameOutcome } from './forecast.ts'
import type { Forecast, Outcome } from './forecast.ts'
import { Image } from './image.ts'
import type { Coverage, Episode, Failure, Lane } from './lane.ts'
import { PAGE, READBACK } from './memory-map.ts'
import type { Seen, Side } from './side.ts'

/** Blamed where each of several deviations alone would have led to the same. */
const OVERLAPPING = '(overlapping)'

type Command<Operation> = Exclude<Operation, Dma>

/** What a lane counts, besides what it must meet. */
export interface ForecastCoverage extends Coverage {
  operations: number
  partialInvalidations: number
  /** Transfers that were not made, since they cannot be foretold. */
  leftOut: number
}

export interface ForecastParts<Operation, Transfer extends Dma> {
  readonly ours: Side<Operation, Transfer>
  readonly qemu: Side<Operation, Transfer>
  readonly deviations: readonly KnownDeviation[]
  /** A unit by the specification, but for those deviations that it is told it has. */
  expected(deviates: (id: string) => boolean): ExpectedUnit<Operation, Transfer>
}

export abstract class ForecastLane<
  Operation extends { readonly kind: string },
  Transfer extends Dma & Operation,
> implements Lane<Operation> {
  abstract readonly title: string
  abstract readonly options: string
  abstract readonly wholeRun: number
  abstract readonly coverage: ForecastCoverage
  readonly deviations: readonly KnownDeviation[]
  readonly explained = new Map<string, number>()
  protected readonly ours: Side<Operation, Transfer>
  protected readonly qemu: Side<Operation, Transfer>
  protected readonly data: Data
  readonly #images: readonly [ours: Image, qemu: Image]
  /** By the specification; with every known deviation; and with every one but one. */
  readonly #plain: ExpectedUnit<Operation, Transfer>
  readonly #deviant: ExpectedUnit<Operation, Transfer>
  readonly #without: ReadonlyMap<string, ExpectedUnit<Operation, Transfer>>

  constructor({ ours, qemu, deviations, expected }: ForecastParts<Operation, Transfer>) {
    this.ours = ours
    this.qemu = qemu
    this.deviations = deviations
    const ids = new Set(deviations.map(({ id }) => id))
    this.#plain = expected(() => false)
    this.#deviant = expected((id) => ids.has(id))
    this.#without = new Map([...ids].map((left) => [left, expected((id) => id !== left && ids.has(id))] as const))
    this.data = new Data(ours.board.memory, qemu.board.memory)
    this.#images = [new Image(ours.board.memory), new Image(qemu.board.memory)]
  }

  [Symbol.dispose](): void {
    this.qemu.board[Symbol.dispose]()
  }

  abstract generate(seed: number, number: number): Episode<Operation>
  abstract describe(operation: Operation): string
  /** Brings both boards to a state without a past, data loaded; `start` is for every expected unit. */
  protected abstract restart(episode: Episode<Operation>): (unit: ExpectedUnit<Operation, Transfer>) => void
  /** A transfer will be made: counts it when called with the address of its first page, blocked −1, and whether QEMU agreed. */
  protected abstract counting(dma: Transfer): (page: number, told: string, agree: boolean) => void
  /** An operation was carried out on both boards. */
  protected carriedOut(_operation: Command<Operation>): void {}
  /** What QEMU told, as it is compared. */
  protected heard(told: string): string {
    return told
  }

  run(episode: Episode<Operation>): Failure | null {
    this.data.restart()
    const start = this.restart(episode)
    for (const image of this.#images) image.set(this.data.fresh)
    for (const unit of this.#units()) start(unit)
    const before = this.#plain.partialInvalidations
    for (const [index, operation] of episode.operations.entries()) {
      const text = this.#isTransfer(operation)
        ? this.#transfer(operation)
        : this.#command(operation as Command<Operation>)
      this.coverage.operations++
      if (text !== null) return { index, text: `${this.describe(operation)}: ${text}` }
    }
    this.coverage.partialInvalidations += this.#plain.partialInvalidations - before
    if (this.#images.some((image) => !image.holds())) return { index: -1, text: 'data is not what it should be' }
    const at = this.data.difference()
    return at < 0 ? null : { index: -1, text: `memory differs at the end, first at 0x${at.toString(16)}` }
  }

  /** Counts a difference that `id` explains. */
  protected explain(id: string): void {
    this.explained.set(id, (this.explained.get(id) ?? 0) + 1)
  }

  #isTransfer(operation: Operation): operation is Transfer {
    return operation.kind === 'dma'
  }

  #units(): ExpectedUnit<Operation, Transfer>[] {
    return [this.#plain, this.#deviant, ...this.#without.values()]
  }

  #command(operation: Command<Operation>): string | null {
    const ours = this.ours.unit.perform(operation)
    const qemu = this.qemu.unit.perform(operation)
    this.carriedOut(operation)
    const plain = this.#plain.perform(operation)
    const deviant = this.#deviant.perform(operation)
    const blamed = [...this.#without].filter(([, unit]) => unit.perform(operation) !== deviant).map(([id]) => id)
    const hex = (result: number) => `0x${result.toString(16)}`
    if (plain !== null && ours !== plain)
      return `by the specification the unit says ${hex(plain)}, ours says ${hex(ours)}`
    if (deviant !== null && qemu !== deviant)
      return `as far as is known of QEMU it says ${hex(deviant)}, but it says ${hex(qemu)}`
    if (ours !== qemu) this.#blame(blamed, [])
    return null
  }

  #transfer(dma: Transfer): string | null {
    const count = this.counting(dma)
    const plain = forecast(this.#plain, dma)
    const deviant = forecast(this.#deviant, dma)
    const others = [...this.#without].map(([id, unit]) => [id, forecast(unit, dma)] as const)
    if (plain === null || deviant === null || reachesDevices(plain) || reachesDevices(deviant)) {
      this.coverage.leftOut++
      this.#resynchronise([])
      return null
    }
    const { memory } = this.ours.board
    const stored = this.data.stored(dma.requester, dma.at, dma.length)
    const [specified, known] = [plain, deviant].map((foretold) => outcomeOf(foretold, dma, stored, memory)) as [
      Outcome,
      Outcome,
    ]
    const ours = this.ours.transfer(dma)
    this.#images[0].write(specified.writes)
    if (!came(ours, specified, this.ours.board))
      return `our unit does not do what the specification says: ${describeForecast(plain)}\n  ${describeSeen(ours)}`
    const { seen, told } = this.qemu.transfer(dma)
    const qemu = { seen, told: this.heard(told) }
    this.#images[1].write(known.writes)
    if (!came(qemu, known, this.qemu.board))
      return `QEMU does not do what is known of it: ${describeForecast(deviant)}\n  ${describeSeen(qemu)}\n  the specification says: ${describeForecast(plain)}`
    const agree = sameOutcome(specified, known)
    if (plain.pages.length === 1) count(plain.pages[0]!, ours.told, agree)
    if (agree) return null
    const blamed = others.filter(([, other]) => !sameForecast(other, deviant)).map(([id]) => id)
    this.#blame(blamed, [...specified.writes, ...known.writes])
    return null
  }

  #blame(blamed: readonly string[], writes: Outcome['writes']): void {
    for (const id of blamed.length === 0 ? [OVERLAPPING] : blamed) this.explain(id)
    this.#resynchronise(writes)
  }

  // After a known difference the two must agree again: nothing cached, and the same wherever either of them has written.
  #resynchronise(writes: Outcome['writes']): void {
    for (const { unit } of [this.ours, this.qemu]) unit.clear()
    for (const unit of this.#units()) unit.clear()
    const { memory } = this.ours.board
    const same = writes.map(({ address, bytes }) => ({ address, bytes: memory.read(address, bytes.length) }))
    for (const { address, bytes } of same) this.qemu.board.memory.write(address, bytes)
    this.#images[1].write(same)
  }
}

/** Registers and firmware of a PC, which a wild transfer is not to reach. */
const reachesDevices = ({ pages, readback }: Forecast): boolean =>
  [...pages, ...readback].some(
    (page) => (page > 0xa_0000 - PAGE && page < 0x10_0000) || (page > 0xe000_0000 - PAGE && page < 2 ** 32),
  )

// What was stored at the read-back page has been seen.
const came = ({ seen, told }: Seen, { seen: expected, told: words, writes }: Outcome, { memory }: Board): boolean =>
  seen === expected &&
  told === words &&
  writes.every(
    ({ address, bytes }) =>
      (seen !== '' && address === READBACK * PAGE) || Buffer.compare(memory.read(address, bytes.length), bytes) === 0,
  )

const describeSeen = ({ seen, told }: Seen): string =>
  [`the device saw ${seen === '' ? 'nothing' : seen.slice(0, 32)}`, told].filter((text) => text !== '').join('; ')
