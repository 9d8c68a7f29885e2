/** VT-d: runs episodes on both boards and compares them step by step. */
import type { VtdPersonality } from '@iospace/iommu/hardware'
import { DmaOutcome } from '@iospace/machine'
import { hex, hexBytes } from '@iospace/wire'
import { ownBoard, qemuBoard } from '../../boards/index.ts'
import { Data } from '../data.ts'
import type { KnownDeviation } from '../deviation.ts'
import { piecesOf } from '../dma.ts'
import type { Failure, Lane } from '../lane.ts'
import { PAGE, READBACK } from '../memory-map.ts'
import { THRESHOLDS } from '../thresholds.ts'
import { Cached, invalidationOf, type CachedContext } from './cached.ts'
import { VtdCoverage } from './coverage.ts'
import { explanations } from './explanations.ts'
import { generateEpisode } from './generate.ts'
import { describeDifference, describeOperation } from './print.ts'
import { compare, reasonOf, type Difference, type Touched } from './difference.ts'
import type { Operation, Transfer, VtdEpisode } from './operation.ts'
import { Side, type Observation } from './side.ts'
import { Tables, type Walk } from './tables.ts'
import { REQUESTERS } from './world.ts'

/** So many operations, that the rarest things come up often enough whatever the seed. */
const WHOLE_RUN = 1.6 * THRESHOLDS.operations
/** Wide enough that nothing is ever put out: QEMU's cache is larger than what an episode uses, too. */
const CACHE = { sets: 1024, ways: 16 } as const
/** QEMU caches no directories. */
const NONE = { sets: 4, ways: 0 } as const

export class VtdLane implements Lane<Operation> {
  readonly title: string
  readonly options: string
  readonly wholeRun: number
  readonly deviations: readonly KnownDeviation[]
  readonly explained = new Map<string, number>()
  readonly coverage: VtdCoverage
  readonly #addressBits: 39 | 48
  readonly #own: ReturnType<typeof ownBoard>
  readonly #ours: Side
  readonly #qemu: Side
  readonly #tables: Tables
  readonly #data: Data
  readonly #cached = new Cached()
  /** Of the last transfer on our board: its outcome, page by page. */
  #outcomes: number[] = []

  /** `changes` are to our unit: for runs that must find it out. */
  constructor(
    addressBits: 39 | 48,
    deviations: readonly KnownDeviation[],
    { wholeRun = WHOLE_RUN, ...changes }: Partial<VtdPersonality> & { readonly wholeRun?: number } = {},
  ) {
    this.wholeRun = wholeRun
    this.title = `VT-d, ${addressBits} bits`
    this.options = `--unit vtd --bits ${addressBits}`
    this.deviations = deviations
    this.coverage = new VtdCoverage(addressBits === 39 ? [3] : [3, 4])
    this.#addressBits = addressBits
    const shapes = { iotlb: CACHE, iotlb2M: CACHE, iotlb1G: CACHE, directories: NONE }
    this.#own = ownBoard(addressBits, { ...shapes, collapseFaults: true, ...changes })
    const { machine, personality } = this.#own
    this.#tables = new Tables(machine.memory, personality)
    machine.trace = {
      ...silent,
      dma: (_time, _sbdf, _write, _address, _bytes, outcome) => void this.#outcomes.push(outcome),
    }
    this.#ours = new Side(this.#own)
    this.#qemu = new Side(qemuBoard(addressBits))
    this.#data = new Data(this.#own.memory, this.#qemu.board.memory)
  }

  [Symbol.dispose](): void {
    this.#qemu.board[Symbol.dispose]()
  }

  generate(seed: number, number: number): VtdEpisode {
    return generateEpisode(seed, number, this.#addressBits)
  }

  describe(operation: Operation): string {
    return describeOperation(operation)
  }

  run(episode: VtdEpisode): Failure | null {
    this.#data.restart()
    for (const { unit } of [this.#ours, this.#qemu]) unit.reset(episode.queued, this.#data.fresh)
    this.#clear()
    for (const [index, operation] of episode.operations.entries()) {
      const difference = operation.kind === 'dma' ? this.#transfer(operation) : this.#command(operation)
      this.coverage.operations++
      if (difference !== null && !this.#explain(difference)) return { index, text: describeDifference(difference) }
    }
    this.coverage.partialInvalidations += this.#cached.partial
    this.#cached.partial = 0
    const at = this.#data.difference()
    return at < 0 ? null : { index: -1, text: `memory differs at the end, first at ${hex(at)}` }
  }

  #command(operation: Exclude<Operation, Transfer>): Difference | null {
    const ours = this.#ours.perform(operation)
    const qemu = this.#qemu.perform(operation)
    const parts = compare(ours, qemu)
    if (operation.kind === 'rootTable') this.#clear()
    const invalidation = operation.kind === 'descriptor' ? invalidationOf(operation.words) : operation
    // One that was refused has done nothing.
    if (invalidation !== null && done(ours.result)) {
      if (invalidation.kind === 'contexts') this.#cached.invalidateContexts(invalidation)
      if (invalidation.kind === 'contexts') this.#lookAhead()
      if (invalidation.kind === 'translations') this.#cached.invalidatePages(invalidation)
    }
    return parts.length === 0 ? null : { operation, parts, ours, qemu, touched: [], context: undefined, passing: false }
  }

  #transfer(operation: Transfer): Difference | null {
    const { requester, write } = operation
    const pieces = piecesOf(operation)
    const now = this.#walk(pieces[0]!, undefined)
    if (!write) pieces.push({ ...operation, hi: 0, lo: READBACK * PAGE, write: true })
    const context = this.#cached.context(requester)
    const touched = pieces.map((piece) => this.#touch(piece, context))
    if ([now, ...touched.map(({ walk }) => walk)].some(({ atRegisters }) => atRegisters)) {
      this.coverage.leftOut++
      return null
    }
    this.#outcomes = []
    const ours = this.#ours.perform(operation)
    const qemu = this.#qemu.perform(operation)
    const parts = compare(ours, qemu)
    if (write && !this.#data.sameStore(now.outcome * PAGE + (operation.lo & 0xfff), operation.length))
      parts.push('memory')
    for (const [i, piece] of pieces.entries()) if (passes(this.#outcomes[i]!)) this.#remember(piece, touched[i]!)
    this.#rememberContext(requester, context, now, touched)
    if (pieces.length === (write ? 1 : 2)) this.#count(operation, now, this.#outcomes[0]!, ours)
    const passing = this.#cached.passing.has(requester)
    return parts.length === 0 ? null : { operation, parts, ours, qemu, touched, context, passing }
  }

  // A unit that looks for the page before the context has read the context only if some page was not there.
  #rememberContext(requester: number, known: CachedContext | undefined, now: Walk, touched: readonly Touched[]): void {
    const hit = touched.every(({ cached }) => cached !== undefined)
    if (known === undefined && now.context !== null)
      this.#cached.addContext(requester, { ...now.context, spared: hit ? 'hit' : null })
    const same = known?.table === now.context?.table && known?.domain === now.context?.domain
    if (known?.spared === 'hit' && !hit && same) known.spared = null
  }

  // Which contexts pass requests, at an invalidation of contexts.
  #lookAhead(): void {
    const { passing } = this.#cached
    for (const requester of REQUESTERS) {
      const { context } = this.#tables.walk(this.#ours.unit.root, requester, 0, 0, false)
      if (context?.table === -1) passing.add(requester)
      else passing.delete(requester)
    }
  }

  #clear(): void {
    this.#cached.clear()
    this.#lookAhead()
  }

  #walk({ requester, hi, lo, write }: Transfer, context: CachedContext | undefined): Walk {
    return this.#tables.walk(this.#ours.unit.root, requester, hi, lo, write, context)
  }

  #touch(piece: Transfer, context: CachedContext | undefined): Touched {
    const { requester, hi, lo } = piece
    const walk = this.#walk(piece, context)
    const foreign = walk.context === null ? undefined : this.#cached.foreign(requester, walk.context.domain, hi, lo)
    return { cached: this.#cached.page(requester, hi, lo), foreign, walk }
  }

  // A piece that went through.
  #remember({ requester, hi, lo, write }: Transfer, { cached, walk }: Touched): void {
    const { outcome, context, leafLevel, frame, rights } = walk
    if (cached !== undefined) cached.renewed ||= (cached.rights & (write ? 2 : 1)) === 0
    else if (outcome >= 0 && context !== null && leafLevel > 0)
      this.#cached.addPage(hi, lo, { requester, domain: context.domain, frame, order: 9 * (leafLevel - 1), rights })
  }

  // `now` is the walk of memory as it is: what went otherwise came out of a cache.
  #count(
    { requester, lo, write, length, at }: Transfer,
    now: Walk,
    outcome: number,
    { seen, fault }: Observation,
  ): void {
    const through = passes(outcome)
    let stale = through !== now.outcome >= 0
    const address = now.outcome * PAGE + (lo & 0xfff)
    if (through && now.outcome >= 0 && address + length <= this.#own.memory.bytes) {
      const there = hexBytes(this.#own.memory.read(address, length))
      const moved = write ? hexBytes(this.#data.stored(requester, at, length)) : seen
      // A fetch that could not be carried to the read-back page says nothing.
      stale = there !== moved && moved !== UNSEEN.repeat(length)
    }
    this.coverage.transfer(through, through && !stale ? now : null, reasonOf(fault), stale)
  }

  #explain(difference: Difference): boolean {
    // The PASID field goes with any difference.
    const rest = difference.parts.filter((part) => part !== 'pasid')
    const needed = [
      ...(rest.length < difference.parts.length ? [['pasid'] as const] : []),
      ...(rest.length > 0 ? [rest] : []),
    ]
    for (const parts of needed) {
      const known = this.deviations.find(({ id }) => explanations[id]?.({ ...difference, parts }) === true)
      if (known === undefined) return false
      this.explained.set(known.id, (this.explained.get(known.id) ?? 0) + 1)
    }
    if (rest.length > 0) this.#resynchronise()
    return true
  }

  // After a known difference the two must agree again: nothing cached, no fault pending, the same data.
  #resynchronise(): void {
    for (const { unit } of [this.#ours, this.#qemu]) {
      unit.invalidateAll()
      unit.faults(false)
    }
    this.#data.copy()
    this.#clear()
  }
}

/** Byte of the read-back page before a fetch, in digits. */
const UNSEEN = 'ee'

/** What a unit says of an invalidation that it has carried out: the queue nothing, the registers some granularity. */
const done = (result: number): boolean => result === 0 || (result & 3) !== 0

/** The IOMMU let it through, whether or not anything was there. */
const passes = (outcome: number): boolean => outcome > 0 || outcome === DmaOutcome.unclaimed

const silent = { domain() {}, device() {}, hypercall() {}, map() {}, unmap() {}, dma() {}, fault() {} }
