/**
 * Interrupt messages of devices (facts B.3, G; AMD 48882 “Interrupt Remapping”): passed, dropped or remapped as the upper half of the
 * requester's device table entry says, which is valid by IV alone. What was read of tables is kept until it is invalidated.
 */
import { Count, type Clock, type InterruptController } from '@iospace/machine'
import { ContextCache } from '../../cache/context-cache.ts'
import { TranslationBank } from '../../cache/translation-bank.ts'
import type { TableMemory } from '../../table-memory.ts'
import type { AmdviPersonality } from '../personalities.ts'
import { DeviceInterrupts, DeviceReserved, InterruptControl } from '../spec/device-table.ts'
import { Fault } from '../spec/events.ts'
import { DeliveryMode, InterruptEntry, InterruptMessage } from '../spec/irte.ts'
import type { AmdviWalk } from '../walk.ts'

/** Result of {@link InterruptRemapper.message}: sent, or −fault; SILENT is added where the fault is not to be logged. */
export const SENT = 0
export const SILENT = 0x100

/** A cached device table entry has its domain below, from here on word 4, 5:0, and from bit 8 of that on word 5, 31:24. */
const FLAGS_SHIFT = 16
/** Largest table address, in units of 64 bytes, that is cached. */
const MAX_CACHED = 0x7fff_ffff

/** What is kept of an interrupt table entry: 7:0 vector, then its type, and these. */
const Entry = { typeShift: 8, remap: 0x800, suppress: 0x1000, invalid: 0x2000 } as const
/** Keeps entries of one requester apart from pages: all of an entry's rights, and every page of a domain. */
const WHOLE = 3
const EVERY = 48

export class InterruptRemapper {
  /** Switches of the control register. */
  wide = false
  allTypes = false
  /** Domain of the last message, for the log. */
  domain = 0
  declare private readonly tables: TableMemory
  declare private readonly walk: AmdviWalk
  declare private readonly clock: Clock
  declare private readonly controller: InterruptController
  declare private readonly devices: ContextCache
  /** By requester and index. */
  declare private readonly entries: TranslationBank
  /** Of the last message's device: what is cached of its entry, and its table's address in units of 64 bytes. */
  #control = 0
  #table = 0

  constructor(
    tables: TableMemory,
    walk: AmdviWalk,
    clock: Clock,
    controller: InterruptController,
    { devices, interrupts }: Pick<AmdviPersonality, 'devices' | 'interrupts'>,
  ) {
    this.tables = tables
    this.walk = walk
    this.clock = clock
    this.controller = controller
    this.devices = new ContextCache(devices)
    this.entries = new TranslationBank(interrupts)
  }

  /** A message of `requester` with `data`; the device table is given as for {@link AmdviWalk.device}. */
  message(deviceTable: number, pages: number, requester: number, data: number): number {
    this.domain = 0
    const at = this.devices.find(requester)
    if (at >= 0) {
      this.#control = this.devices.control(at)
      this.#table = this.devices.table(at)
    } else {
      const fault = this.#readDevice(deviceTable, pages, requester)
      if (fault < 0) return fault
    }
    const flags = this.#control >>> FLAGS_SHIFT
    this.domain = this.#control & 0xffff
    if ((flags & DeviceInterrupts.valid) === 0) return this.#send(data)
    const mode = (data >>> InterruptMessage.modeShift) & InterruptMessage.modeMask
    if (mode > DeliveryMode.arbitrated && !this.allTypes) return this.#unmapped(mode, flags, data)
    switch ((flags >>> 12) & DeviceInterrupts.controlMask) {
      case InterruptControl.forward:
        return this.#send(data)
      case InterruptControl.remap:
        return this.#remap(requester, flags, data)
      case InterruptControl.abort:
        return -Fault.interruptAborted
      default:
        return -Fault.interruptControl
    }
  }

  /** INVALIDATE_INTERRUPT_TABLE. */
  invalidate(requester: number): void {
    this.clock.count(Count.invalidation)
    this.entries.dropRange(requester, 0, 0, EVERY)
  }

  /** INVALIDATE_DEVTAB_ENTRY: its upper half too. */
  invalidateDevice(requester: number): void {
    this.devices.drop(requester, 0xffff, -1)
  }

  invalidateAll(): void {
    this.devices.drop(0, 0, -1)
    this.entries.dropAll()
  }

  #readDevice(deviceTable: number, pages: number, requester: number): number {
    const walk = this.walk
    const at = walk.deviceEntry(deviceTable, pages, requester)
    this.clock.count(Count.walkRead, walk.reads)
    walk.reads = 0
    if (at < 0) return at
    const { words } = this.tables
    const low = words[at + 4]!
    const high = words[at + 5]!
    this.domain = words[at + 2]! & 0xffff
    if ((low & DeviceInterrupts.valid) !== 0) {
      const reserved =
        (high & DeviceInterrupts.reserved5) |
        (words[at + 6]! & DeviceReserved.word6) |
        (words[at + 7]! & DeviceReserved.word7)
      if (reserved !== 0) return -Fault.interruptReserved
    }
    this.#table = (high & DeviceInterrupts.addressHigh) * 2 ** 26 + (low >>> 6)
    this.#control = this.domain | (((low & 0x3f) | ((high >>> 16) & 0xff00)) << FLAGS_SHIFT)
    if (this.#table <= MAX_CACHED) this.devices.insert(requester, this.#control, this.#table)
    return 0
  }

  // System management interrupts pass (no filter is implemented), others if the device may send them.
  #unmapped(mode: number, flags: number, data: number): number {
    const pass =
      mode === DeliveryMode.smi ||
      (mode === DeliveryMode.nmi && (flags & (DeviceInterrupts.passNmi >>> 16)) !== 0) ||
      (mode === DeliveryMode.init && (flags & (DeviceInterrupts.passInit >>> 16)) !== 0) ||
      (mode === DeliveryMode.external && (flags & (DeviceInterrupts.passExternal >>> 16)) !== 0)
    return pass ? this.#send(data) : -Fault.interruptAborted
  }

  #remap(requester: number, flags: number, data: number): number {
    const length = (flags >>> DeviceInterrupts.lengthShift) & DeviceInterrupts.lengthMask
    if (length > DeviceInterrupts.maxLength) return -Fault.interruptLength
    const index = data & InterruptMessage.indexMask
    const silent = (flags & DeviceInterrupts.ignoreUnmapped) !== 0 ? SILENT : 0
    if (index >= 1 << length) return -Fault.interruptBeyondTable - silent
    let entry = this.entries.find(requester, index, 0, WHOLE)
    if (entry < 0) {
      entry = this.#readEntry(index)
      if (entry < 0) return entry
      this.entries.insert(requester, index, 0, WHOLE, entry)
    }
    const suppressed = (entry & Entry.suppress) !== 0 ? SILENT : 0
    if ((entry & Entry.remap) === 0) return -Fault.interruptUnmapped - (silent | suppressed)
    if ((entry & Entry.invalid) !== 0) return -Fault.interruptEntryReserved - suppressed
    return this.#send(entry & 0x7ff)
  }

  // What is kept of entry `index` of the device's table, or −fault.
  #readEntry(index: number): number {
    const { tables, wide } = this
    const bytes = this.#table * 64 + index * (wide ? 16 : 4)
    const mfn = Math.floor(bytes / 4096)
    const quadword = (bytes & 0xfff) >>> 3
    let at = tables.entryAt(mfn, quadword)
    if (at >= 0 && wide) at = Math.min(at, tables.entryAt(mfn, quadword + 1))
    if (at < 0) return this.walk.failed(at, mfn, quadword, Fault.interruptTableAccess)
    this.clock.count(Count.walkRead)
    const { words } = tables
    const low = words[wide ? at : at + ((bytes >>> 2) & 1)]!
    const type = (low >>> InterruptEntry.typeShift) & InterruptEntry.typeMask
    const reserved = wide
      ? (words[at + 2]! & InterruptEntry.reserved2) | (words[at + 3]! & InterruptEntry.reserved3)
      : low & InterruptEntry.reserved
    const vector = (wide ? words[at + 2]! : low >>> InterruptEntry.vectorShift) & 0xff
    const invalid = type > InterruptEntry.maxType || (low & InterruptEntry.guest) !== 0 || reserved !== 0
    return (
      vector |
      (type << Entry.typeShift) |
      ((low & InterruptEntry.remap) !== 0 ? Entry.remap : 0) |
      ((low & InterruptEntry.suppress) !== 0 ? Entry.suppress : 0) |
      (invalid ? Entry.invalid : 0)
    )
  }

  #send(data: number): number {
    this.controller.message(data)
    return SENT
  }
}
