/**
 * Interrupt messages of devices (facts B.3, G; AMD 48882 “Interrupt Remapping”): passed, dropped or remapped as the upper half of the
 * requester's device table entry says, which is valid by IV alone. What was read of tables is kept until it is invalidated.
 */
import { Count, INTERRUPT_WINDOW, type Clock, type InterruptController } from '@iospace/machine'
import { ContextCache } from '../../cache/context-cache.ts'
import type { TableMemory } from '../../table-memory.ts'
import type { AmdviPersonality } from '../personalities.ts'
import { DeviceInterrupts, DeviceReserved, InterruptControl } from '../spec/device-table.ts'
import { Fault } from '../spec/events.ts'
import { DeliveryMode, InterruptEntry, InterruptMessage } from '../spec/irte.ts'
import type { AmdviWalk } from '../walk.ts'

/** Result of {@link InterruptRemapper.message}: sent, or −fault; SILENT is added where the fault is not to be logged. */
export const SENT = 0
export const SILENT = 0x100

/** HyperTransport's interrupt range 0xFD_F8xx_xxxx: no device writes there by itself. */
const TUNNEL_HIGH = 0xfd
const TUNNEL_LOW = 0xf8

/** A cached entry: 2 words of it, then its tag (−1 when free), in an Int32Array. */
const WORDS = 3
/** A cached device table entry has its domain below, from here on word 4, 5:0, and from bit 8 of that on word 5, 31:24. */
const FLAGS_SHIFT = 16

/** Whether requests at (`hi`:`lo`) are interrupts, which are never translated. */
export function inInterruptRange(hi: number, lo: number): boolean {
  return (hi === 0 && lo >>> 20 === INTERRUPT_WINDOW) || (hi === TUNNEL_HIGH && lo >>> 24 === TUNNEL_LOW)
}

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
  declare private readonly entries: Int32Array
  declare private readonly mask: number

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
    this.entries = new Int32Array(WORDS * interrupts).fill(-1)
    this.mask = interrupts - 1
  }

  /** A message of `requester` with `data`; the device table is given as for {@link AmdviWalk.device}. */
  message(deviceTable: number, pages: number, requester: number, data: number): number {
    this.domain = 0
    let at = this.devices.find(requester)
    if (at < 0) {
      const fault = this.#readDevice(deviceTable, pages, requester)
      if (fault < 0) return fault
      at = this.devices.find(requester)
    }
    const control = this.devices.control(at)
    this.domain = control & 0xffff
    const flags = control >>> FLAGS_SHIFT
    if ((flags & DeviceInterrupts.valid) === 0) return this.#send(data)
    const mode = (data >>> InterruptMessage.modeShift) & InterruptMessage.modeMask
    if (mode > DeliveryMode.arbitrated && !this.allTypes) return this.#unmapped(mode, flags, data)
    switch ((flags >>> 12) & DeviceInterrupts.controlMask) {
      case InterruptControl.forward:
        return this.#send(data)
      case InterruptControl.remap:
        return this.#remap(requester, this.devices.table(at), flags, data)
      case InterruptControl.abort:
        return -Fault.interruptAborted
      default:
        return -Fault.interruptControl
    }
  }

  /** INVALIDATE_INTERRUPT_TABLE. */
  invalidate(requester: number): void {
    this.clock.count(Count.invalidation)
    const entries = this.entries
    for (let at = 0; at < entries.length; at += WORDS) if (entries[at + 2]! >>> 11 === requester) entries[at + 2] = -1
  }

  /** INVALIDATE_DEVTAB_ENTRY: its upper half too. */
  invalidateDevice(requester: number): void {
    this.devices.drop(requester, 0xffff, -1)
  }

  invalidateAll(): void {
    this.devices.drop(0, 0, -1)
    this.entries.fill(-1)
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
      if (
        ((high & DeviceInterrupts.reserved5) |
          (words[at + 6]! & DeviceReserved.word6) |
          (words[at + 7]! & DeviceReserved.word7)) !==
        0
      )
        return -Fault.interruptReserved
    }
    // The table's address in units of 64 bytes: a table that this cannot hold is in no memory.
    const address = (high & DeviceInterrupts.addressHigh) * 2 ** 26 + (low >>> 6)
    const flags = (low & 0x3f) | ((high >>> 16) & 0xff00)
    this.devices.insert(requester, this.domain | (flags << FLAGS_SHIFT), Math.min(address, 0x7fff_ffff))
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

  #remap(requester: number, table: number, flags: number, data: number): number {
    const length = (flags >>> DeviceInterrupts.lengthShift) & DeviceInterrupts.lengthMask
    if (length > DeviceInterrupts.maxLength) return -Fault.interruptLength
    const index = data & InterruptMessage.indexMask
    const silent = (flags & DeviceInterrupts.ignoreUnmapped) !== 0 ? SILENT : 0
    if (index >= 1 << length) return -Fault.interruptBeyondTable - silent
    const tag = (requester << 11) | index
    const slot = ((index ^ (requester * 7)) & this.mask) * WORDS
    const entries = this.entries
    if (entries[slot + 2] !== tag) {
      const fault = this.#readEntry(slot, tag, table, index)
      if (fault < 0) return fault
    }
    const low = entries[slot]!
    const suppressed = (low & InterruptEntry.suppress) !== 0 ? SILENT : 0
    if ((low & InterruptEntry.remap) === 0) return -Fault.interruptUnmapped - (silent | suppressed)
    const type = (low >>> InterruptEntry.typeShift) & InterruptEntry.typeMask
    // Reserved bits were gathered in bit 31 of the second word.
    if ((low & InterruptEntry.guest) !== 0 || type > InterruptEntry.maxType || entries[slot + 1]! < 0)
      return -Fault.interruptEntryReserved - suppressed
    return this.#send((entries[slot + 1]! & 0xff) | (type << InterruptMessage.modeShift))
  }

  #readEntry(slot: number, tag: number, table: number, index: number): number {
    const bytes = table * 64 + index * (this.wide ? 16 : 4)
    const at = this.tables.entryAt(Math.floor(bytes / 4096), (bytes & 0xfff) >>> 3)
    if (at < 0) return this.walk.failed(at, Math.floor(bytes / 4096), (bytes & 0xfff) >>> 3, Fault.interruptTableAccess)
    this.clock.count(Count.walkRead)
    const { words } = this.tables
    const entries = this.entries
    if (this.wide) {
      const reserved = (words[at + 2]! & InterruptEntry.reserved2) | (words[at + 3]! & InterruptEntry.reserved3)
      entries[slot] = words[at]!
      entries[slot + 1] = (words[at + 2]! & 0xff) | (reserved === 0 ? 0 : 0x8000_0000)
    } else {
      const low = words[at + ((bytes >>> 2) & 1)]!
      entries[slot] = low
      const reserved = (low & InterruptEntry.reserved) !== 0
      entries[slot + 1] = ((low >>> InterruptEntry.vectorShift) & 0xff) | (reserved ? 0x8000_0000 : 0)
    }
    entries[slot + 2] = tag
    return 0
  }

  #send(data: number): number {
    this.controller.message(data)
    return SENT
  }
}
