/** What a VT-d unit does, by facts A.2 to A.5 and by the deviations of QEMU that are switched on. */
import type { BoardMemory } from '../../boards/index.ts'
import type { Dma } from '../dma.ts'
import { blocked, granted, type Answer, type ExpectedUnit } from '../expected-unit.ts'
import { PAGE as PAGE_BYTES } from '../memory-map.ts'
import type { Deviates } from './deviates.ts'
import { ExpectedCommands, type Invalidation } from './expected-commands.ts'
import { ExpectedFaults } from './expected-faults.ts'
import { ExpectedPages, type Page } from './expected-pages.ts'
import type { Operation, Transfer } from './operation.ts'
import { REQUESTERS, ROOTS } from './world.ts'

interface Context {
  readonly passes: boolean
  readonly domain: number
  readonly levels: number
  readonly table: bigint
  /** FPD. */
  readonly disabled: boolean
}

/** A request that faults. */
interface Fault {
  readonly reason: number
  /** FPD of the context entry that was looked at. */
  readonly disabled: boolean
}

const Reason = {
  rootNotPresent: 0x1,
  contextNotPresent: 0x2,
  contextInvalid: 0x3,
  beyondWidth: 0x4,
  write: 0x5,
  read: 0x6,
  pageAccess: 0x7,
  rootAccess: 0x8,
  contextAccess: 0x9,
  rootReserved: 0xa,
  contextReserved: 0xb,
  pageReserved: 0xc,
  interrupt: 0xe,
} as const

const WRITE = 2
const READ = 1
const GLOBAL = 1
const DOMAIN = 2
const PAGE = BigInt(PAGE_BYTES)
const ADDRESS = 0x000f_ffff_ffff_f000n
const ALL_ONES = 0xffff_ffff_ffff_ffffn
/** Bits of a root and of both halves of a context entry that are reserved, whatever the host address width. */
const ROOT_RESERVED = 0xfff0_0000_0000_0ffen
const CONTEXT_RESERVED = 0xfff0_0000_0000_0ff0n
const CONTEXT_RESERVED_HIGH = 0xffff_ffff_ff00_0080n
/** Bits 61:52 of a page entry and 63 are ignored, SNP and TM reserved. */
const PAGE_RESERVED = (1n << 11n) | (1n << 62n)
const LARGE = 1n << 7n
/** The interrupt window: nothing else answers there, but the processor of QEMU's board does. */
const WINDOW = { from: 0xfee0_0000n, to: 0xfef0_0000n } as const
/** Nobody can tell what is read there. */
const REGISTERS = Symbol('registers')
type Loaded = bigint | null | typeof REGISTERS

const bits = (value: bigint, from: number, count: number): number =>
  Number((value >> BigInt(from)) & ((1n << BigInt(count)) - 1n))
const inWindow = (from: bigint, size: bigint): boolean => from < WINDOW.to && from + size > WINDOW.from

export class ExpectedVtd implements ExpectedUnit<Operation, Transfer> {
  readonly #memory: BoardMemory
  readonly #deviates: Deviates
  readonly #addressBits: number
  /** Levels that tables may have. */
  readonly #levels: readonly number[]
  readonly #pages: ExpectedPages
  readonly #faults: ExpectedFaults
  readonly #commands: ExpectedCommands
  readonly #contexts = new Map<number, Context>()
  /** Requesters that pass until contexts are invalidated. */
  readonly #passing = new Set<number>()
  #root: number = ROOTS[0]

  constructor(memory: BoardMemory, addressBits: 39 | 48, deviates: Deviates) {
    this.#memory = memory
    this.#deviates = deviates
    this.#addressBits = addressBits
    this.#levels = addressBits === 39 ? [3] : [3, 4]
    this.#pages = new ExpectedPages(deviates)
    this.#faults = new ExpectedFaults(deviates)
    this.#commands = new ExpectedCommands(deviates, addressBits)
  }

  get partialInvalidations(): number {
    return this.#pages.partial
  }

  /** As after `VtdUnit.reset`. */
  restart(queued: boolean): void {
    this.#commands.queued = queued
    this.#root = ROOTS[0]
    this.clear()
  }

  clear(): void {
    this.#pages.clear()
    this.#faults.clear()
    this.#forgetContexts(() => true)
  }

  faults(dma: Transfer): string {
    return this.#faults.tell(dma)
  }

  perform(operation: Exclude<Operation, Dma>): number | null {
    switch (operation.kind) {
      case 'rootTable':
        this.#root = operation.frame
        this.#pages.clear()
        this.#forgetContexts(() => true)
        return 0
      case 'translations':
      case 'contexts': {
        const { result, done } = this.#commands.invalidation(operation)
        this.#invalidate(done)
        return result
      }
      case 'descriptor': {
        const { result, done } = this.#commands.descriptor(operation.words)
        this.#invalidate(done)
        return result
      }
      default:
        return 0
    }
  }

  answer(requester: number, iova: bigint, write: boolean): Answer | null {
    const deviates = this.#deviates
    const need = write ? WRITE : READ
    if (this.#passing.has(requester)) return granted(iova, iova, PAGE, false)
    const bySource = deviates('translations-by-source')
    if (bySource && deviates('translations-before-contexts')) {
      const page = this.#pages.find(requester, 0, iova, need)
      if (page !== undefined) return this.#hit(page, requester, iova, need, false)
    }
    const context = this.#contexts.get(requester) ?? this.#readContext(requester)
    if (context === REGISTERS) return null
    if ('reason' in context) return this.#fault(context, requester, iova, write)
    this.#contexts.set(requester, context)
    if (context.passes) {
      if (deviates('pass-through-ahead')) this.#passing.add(requester)
      return granted(iova, iova, PAGE, false)
    }
    const { disabled, domain, levels } = context
    if (iova >> BigInt(Math.min(this.#addressBits, 12 + 9 * levels)) !== 0n)
      return this.#fault({ reason: Reason.beyondWidth, disabled }, requester, iova, write)
    if (!(bySource && deviates('translations-before-contexts'))) {
      const page = this.#pages.find(requester, domain, iova, need)
      if (page !== undefined) return this.#hit(page, requester, iova, need, disabled)
    }
    const page = this.#walk(context, iova, need)
    if (page === REGISTERS) return null
    if ('reason' in page) return this.#fault(page, requester, iova, write)
    this.#pages.add(requester, domain, iova, page)
    return this.#through(page, iova)
  }

  // A cached page, whose rights are enough unless they are final.
  #hit(page: Page, requester: number, iova: bigint, need: number, disabled: boolean): Answer {
    if ((page.rights & need) === 0) return blocked(iova)
    const there = page.to + (iova % (PAGE << BigInt(page.order)))
    if (!this.#deviates('window-by-page') && inWindow(there, 1n))
      return this.#fault({ reason: Reason.interrupt, disabled }, requester, iova, need === WRITE)
    return this.#through(page, iova)
  }

  #through({ order, to }: Page, iova: bigint): Answer {
    const size = PAGE << BigInt(order)
    const there = to + (iova % size)
    const rest = this.#deviates('large-page-covers-the-rest') && there < BigInt(this.#memory.bytes)
    return granted(iova, there, size, rest)
  }

  #fault({ reason, disabled }: Fault, requester: number, iova: bigint, write: boolean): Answer {
    this.#faults.add(reason, disabled, requester, iova, write)
    return blocked(iova)
  }

  #invalidate(done: Invalidation | null): void {
    if (done?.kind === 'translations') this.#pages.drop(done)
    if (done?.kind !== 'contexts') return
    const { granularity, domain, requester, functionMask } = done
    const ignored = [0, 4, 6, 7][functionMask]!
    const named = (other: number) => ((other ^ requester) & ~ignored) === 0
    const whatever = this.#deviates('device-contexts-whatever-domain')
    this.#forgetContexts((other) => {
      if (granularity === GLOBAL) return true
      const ofDomain = this.#contexts.get(other)?.domain === domain
      return granularity === DOMAIN ? ofDomain : named(other) && (whatever || ofDomain)
    })
  }

  // QEMU looks at once which of them pass.
  #forgetContexts(which: (requester: number) => boolean): void {
    for (const requester of REQUESTERS.filter(which)) {
      this.#contexts.delete(requester)
      this.#passing.delete(requester)
      if (!this.#deviates('pass-through-ahead')) continue
      const context = this.#readContext(requester)
      if (context !== REGISTERS && 'passes' in context && context.passes) this.#passing.add(requester)
    }
  }

  #readContext(requester: number): Context | Fault | typeof REGISTERS {
    const fault = (reason: number, disabled = false): Fault => ({ reason, disabled })
    const root = this.#load2(BigInt(this.#root) * PAGE + BigInt((requester >> 8) * 16))
    if (root === REGISTERS) return REGISTERS
    if (root === null) return fault(Reason.rootAccess)
    const [rootLow, rootHigh] = root
    if ((rootLow & 1n) === 0n) return fault(Reason.rootNotPresent)
    if ((rootLow & (ROOT_RESERVED | this.#beyondHost)) !== 0n || rootHigh !== 0n) return fault(Reason.rootReserved)
    const entry = this.#load2((rootLow & ADDRESS) + BigInt((requester & 0xff) * 16))
    if (entry === REGISTERS) return REGISTERS
    if (entry === null) return fault(Reason.contextAccess)
    const [low, high] = entry
    const disabled = (low & 2n) !== 0n
    if ((low & 1n) === 0n) return fault(Reason.contextNotPresent, disabled)
    if ((low & (CONTEXT_RESERVED | this.#beyondHost)) !== 0n || (high & CONTEXT_RESERVED_HIGH) !== 0n)
      return fault(Reason.contextReserved, disabled)
    const type = bits(low, 2, 2)
    const levels = bits(high, 0, 3) + 2
    // Without device TLBs types 0 and 2 are all.
    if (!this.#levels.includes(levels) || (type & 1) !== 0) return fault(Reason.contextInvalid, disabled)
    return { passes: type === 2, domain: bits(high, 8, 16), levels, table: low & ADDRESS, disabled }
  }

  #walk({ table: top, levels, disabled }: Context, iova: bigint, need: number): Page | Fault | typeof REGISTERS {
    const deviates = this.#deviates
    const fault = (reason: number): Fault => ({ reason, disabled })
    let table = top
    let rights = READ | WRITE
    for (let level = levels; ; level--) {
      const shift = 3 + 9 * level
      const entry = this.#load(table + BigInt(bits(iova, shift, 9) * 8))
      if (entry === REGISTERS) return REGISTERS
      if (entry === null || (entry === ALL_ONES && deviates('all-ones-entry')))
        return fault(level === levels ? Reason.contextInvalid : Reason.pageAccess)
      rights &= bits(entry, 0, 2)
      if ((rights & need) === 0) return fault(need === WRITE ? Reason.write : Reason.read)
      const large = level > 1 && (entry & LARGE) !== 0n
      const leaf = level === 1 || large
      const size = 1n << BigInt(shift)
      const misaligned = large ? (size - 1n) & ADDRESS : 0n
      if (large && level === 4) return fault(Reason.pageReserved)
      if ((entry & (PAGE_RESERVED | this.#beyondHost | misaligned)) !== 0n) return fault(Reason.pageReserved)
      const to = entry & ADDRESS
      if (!leaf) {
        table = to
        continue
      }
      const windowed = deviates('window-by-page') ? inWindow(to, size) : inWindow(to + (iova % size), 1n)
      return windowed ? fault(Reason.interrupt) : { order: shift - 12, to, rights }
    }
  }

  /** Address bits of an entry above the host address width. */
  get #beyondHost(): bigint {
    return ADDRESS & (-1n << BigInt(this.#addressBits))
  }

  #load2(address: bigint): readonly [bigint, bigint] | null | typeof REGISTERS {
    const low = this.#load(address)
    const high = this.#load(address + 8n)
    if (low === REGISTERS || high === REGISTERS) return REGISTERS
    return low === null || high === null ? null : [low, high]
  }

  #load(address: bigint): Loaded {
    if (inWindow(address, 8n)) return REGISTERS
    return address + 8n > BigInt(this.#memory.bytes) ? null : this.#memory.readU64(Number(address))
  }
}
