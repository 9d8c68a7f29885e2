/** What an AMD-Vi unit does, by facts B.2 to B.5 and by the deviations of QEMU that are switched on. */
import type { BoardMemory } from '../../boards/index.ts'
import type { Dma } from '../dma.ts'
import { blocked, granted, type Answer, type ExpectedUnit } from '../expected-unit.ts'
import { ExpectedCommands } from './expected-commands.ts'
import { ExpectedPages, type Page } from './expected-pages.ts'
import type { Deviates } from './deviates.ts'
import type { Operation } from './operation.ts'

/** A walk that QEMU never ends. */
const ENDLESS = Symbol('endless')

interface DeviceEntry {
  /** The request passes as it is: no table. */
  readonly passes: boolean
  readonly domain: number
  readonly rights: number
  readonly levels: number
  readonly table: bigint
}

const READ = 1
const WRITE = 2
const BOTH = READ | WRITE
const PAGE = 4096
const ADDRESS = 0x000f_ffff_ffff_f000n
/** Entries of a walk: a table of six levels has six. */
const MANY = 100

const bits = (value: bigint, from: number, count: number): number =>
  Number((value >> BigInt(from)) & ((1n << BigInt(count)) - 1n))
const shiftOf = (level: number): number => 3 + 9 * level
const widthOf = (levels: number): number => (levels === 6 ? 64 : 12 + 9 * levels)

export class ExpectedAmdvi implements ExpectedUnit<Operation, Dma> {
  readonly #commands: ExpectedCommands
  readonly #pages: ExpectedPages
  readonly #entries = new Map<number, DeviceEntry>()
  readonly #memory: BoardMemory
  readonly #deviates: Deviates
  #deviceTable = 0n
  #devicePages = 0

  constructor(memory: BoardMemory, deviates: Deviates) {
    this.#memory = memory
    this.#deviates = deviates
    this.#pages = new ExpectedPages(deviates)
    this.#commands = new ExpectedCommands(deviates, memory.bytes)
  }

  get partialInvalidations(): number {
    return this.#pages.partial
  }

  clear(): void {
    this.#entries.clear()
    this.#pages.clear()
  }

  /** 0, or 1 when the command buffer stops. */
  perform(operation: Exclude<Operation, Dma>): number {
    const stops = operation.kind === 'command' ? this.#commands.stops(operation.words) : 0
    const command = operation.kind === 'command' ? this.#commands.decode(operation.words) : operation
    if (stops !== 0 || command === null) return stops
    switch (command.kind) {
      case 'deviceTable':
        this.#deviceTable = BigInt(command.frame) * BigInt(PAGE)
        this.#devicePages = command.pages
        this.clear()
        break
      case 'pages':
        this.#pages.drop(command)
        break
      case 'entry':
        this.#entries.delete(command.requester)
        break
      case 'all':
        this.clear()
        break
    }
    return stops
  }

  /** QEMU's event log is never written. */
  faults(): string {
    return ''
  }

  answer(requester: number, iova: bigint, write: boolean): Answer | null {
    const deviates = this.#deviates
    const id = deviates('bus-is-lost') ? requester & 0xff : requester
    const need = write ? WRITE : READ
    if (deviates('pages-by-requester')) {
      const page = this.#pages.find(id, 0, iova, need)
      if (page !== undefined) return this.#through(page, iova, need)
    }
    const entry = this.#entry(id, need)
    if (entry === null) return blocked(iova)
    if (entry.passes) {
      const page = { order: 0, to: iova - (iova % BigInt(PAGE)), rights: entry.rights }
      if (deviates('passing-is-cached') && deviates('pages-by-requester') && entry.table >= 0n)
        this.#keep(id, entry.domain, iova, page, need)
      return this.#through(page, iova, need)
    }
    if ((entry.rights & need) === 0) return blocked(iova)
    if (!deviates('address-wraps') && iova >> BigInt(widthOf(entry.levels)) !== 0n) return blocked(iova)
    if (!deviates('pages-by-requester')) {
      const page = this.#pages.find(0, entry.domain, iova, need)
      if (page !== undefined) return this.#through(page, iova, need)
    }
    const page = this.#walk(entry, iova, need)
    if (page === ENDLESS) return null
    if (page === null) return blocked(iova)
    this.#keep(id, entry.domain, iova, page, need)
    return this.#through(page, iova, need)
  }

  #keep(id: number, domain: number, iova: bigint, page: Page, need: number): void {
    const granted = (page.rights & need) !== 0
    if (granted || (page.rights !== 0 && this.#deviates('refused-pages-are-cached')))
      this.#pages.add(id, domain, iova, page)
  }

  #through({ order, to, rights }: Page, iova: bigint, need: number): Answer {
    if ((rights & need) === 0) return blocked(iova)
    const size = BigInt(PAGE) << BigInt(order)
    const there = to + (iova % size)
    const rest = this.#deviates('large-page-covers-the-rest') && there < BigInt(this.#memory.bytes)
    return granted(iova, there, size, rest)
  }

  // The device table entry for a request: null for one that blocks it.
  #entry(id: number, need: number): DeviceEntry | null {
    const known = this.#deviates('entries-are-not-cached') ? undefined : this.#entries.get(id)
    if (known !== undefined) return known
    const entry = this.#readEntry(id)
    if (entry !== null && (entry.rights & need) !== 0) this.#entries.set(id, entry)
    return entry
  }

  #readEntry(id: number): DeviceEntry | null {
    const deviates = this.#deviates
    if (!deviates('table-length-is-ignored') && id >= this.#devicePages * (PAGE / 32)) return null
    const at = this.#deviceTable + BigInt(id * 32)
    const words = [0, 8, 16, 24].map((offset) => this.#load(at + BigInt(offset)))
    if (words.some((word) => word === null)) return null
    const [q0, q1, q2, q3] = words as [bigint, bigint, bigint, bigint]
    const valid = (q0 & 1n) !== 0n
    if ((valid || deviates('invalid-entry-is-checked')) && (q0 & 0x8000_0000_0000_007cn) !== 0n) return null
    if (deviates('interrupt-half-is-checked') && ((q2 & (3n << 52n)) | (q3 & 0x003f_0000_0000_7fffn)) !== 0n)
      return null
    if (
      deviates('more-bits-are-checked') &&
      ((q0 & 0x0030_0000_0000_0080n) | (q1 & 0x100n) | (q2 & 0x08c0_0000_0000_0000n) | q3) !== 0n
    )
      return null
    if (!valid) return { passes: true, domain: 0, rights: BOTH, levels: 0, table: -1n }
    const rights = bits(q0, 61, 2)
    const domain = bits(q1, 0, 16)
    const pass: DeviceEntry = { passes: true, domain, rights, levels: 0, table: 0n }
    if ((q0 & 2n) === 0n) return deviates('untranslated-passes') ? pass : null
    const levels = bits(q0, 9, 3)
    if (levels === 0) return pass
    return levels > 6 ? null : { passes: false, domain, rights, levels, table: q0 & ADDRESS }
  }

  // The page and what the tables grant, whether or not that is enough; null for a fault.
  #walk(
    { levels, table: top, rights: entryRights }: DeviceEntry,
    iova: bigint,
    need: number,
  ): Page | null | typeof ENDLESS {
    const deviates = this.#deviates
    let level = levels
    let table = top
    let rights = BOTH
    for (let steps = 0; ; steps++) {
      if (steps > MANY) return ENDLESS
      const index = bits(iova, shiftOf(level), level === 6 ? 7 : 9)
      const entry = this.#load(table + BigInt(index * 8))
      if (entry === null || entry === 0n) return null
      const next = bits(entry, 9, 3)
      const leaf = next === 0 || next === 7
      if ((entry & 1n) === 0n && !(leaf && deviates('absent-leaf-translates'))) return null
      if (!deviates('reserved-bits-are-ignored') && bits(entry, 52, leaf ? 7 : 9) !== 0) return null
      rights &= bits(entry, 61, 2)
      if (leaf) {
        const shift = next === 0 ? shiftOf(level) : sizeShift(entry)
        const sound = next === 0 ? level < 6 : level < 6 && shift > shiftOf(level) && shift < shiftOf(level + 1)
        if (!sound && !deviates('any-size-anywhere')) return null
        if (deviates('rights-of-the-leaf-alone')) rights = bits(entry, 61, 2)
        else if (deviates('pages-by-requester')) rights &= entryRights
        const size = 1n << BigInt(shift)
        return { order: shift - 12, to: entry & ADDRESS & ~(size - 1n), rights }
      }
      if ((rights & need) === 0) return null
      if (next >= level && !deviates('levels-may-rise')) return null
      const skipped = Math.max(0, level - 1 - next)
      if (skipped > 0 && !deviates('skipped-bits-are-ignored') && bits(iova, shiftOf(next + 1), 9 * skipped) !== 0)
        return null
      table = entry & ADDRESS
      level = next
    }
  }

  // Nothing but RAM answers.
  #load(address: bigint): bigint | null {
    return address + 8n > BigInt(this.#memory.bytes) ? null : this.#memory.readU64(Number(address))
  }
}

// The first zero from bit 12 up is the highest offset bit.
function sizeShift(entry: bigint): number {
  let shift = 12
  while (shift < 52 && ((entry >> BigInt(shift)) & 1n) !== 0n) shift++
  return shift + 1
}
