/**
 * dma-debug (Linux kernel/dma/debug.c): remembers every mapping of every device and reports what a driver does wrong with it. Each
 * report carries Linux's own class, so that a driver's author meets the words they would meet there.
 *
 * It finds mistakes that no hardware would: they work by chance. Off by default, on with `dma_debug=on`.
 */
import { Direction } from './direction.ts'

/** The kinds of report; the comment is the number of the class in facts/linux-dma.md D1. */
export const DmaDebugClass = {
  /** 1 */ freesInvalidAddress: 'tries to free an invalid DMA memory address',
  /** 2 */ freesUnmapped: 'tries to free DMA memory it has not allocated',
  /** 3 */ wrongSize: 'frees DMA memory with different size',
  /** 4 */ wrongFunction: 'frees DMA memory with wrong function',
  /** 6 */ wrongEntryCount: 'frees DMA sg list with different entry count',
  /** 7 */ wrongDirection: 'frees DMA memory with different direction',
  /** 12 */ syncsUnmapped: 'tries to sync DMA memory it has not allocated',
  /** 13 */ syncsOutside: 'syncs DMA memory outside allocated range',
  /** 14 */ syncsWrongDirection: 'syncs DMA memory with different direction',
  /** 15 */ syncsForCpuReadOnly: 'syncs device read-only DMA memory for cpu',
  /** 16 */ syncsForDeviceWriteOnly: 'syncs device write-only DMA memory to device',
  /** 21 */ leaked: 'device driver has pending DMA allocations while released from device',
} as const

export type DmaDebugClassName = keyof typeof DmaDebugClass

export type MappingType = 'single' | 'scatter-gather' | 'coherent'

export interface DmaDebugReport {
  readonly class: DmaDebugClassName
  readonly device: string
  readonly text: string
}

interface Entry {
  readonly address: number
  readonly size: number
  readonly type: MappingType
  readonly direction: number
  /** Entries of the list, 1 for others. */
  readonly entries: number
}

const hex = (address: number): string => `0x${Math.max(0, address).toString(16)}`
const directionName = (direction: number): string => Object.keys(Direction)[direction] ?? String(direction)

export class DmaDebug {
  readonly reports: DmaDebugReport[] = []
  readonly #log: (text: string) => void
  readonly #live = new Map<string, Map<number, Entry[]>>()

  /** `log` gets every report as a line. */
  constructor(log: (text: string) => void) {
    this.#log = log
  }

  /** Mappings of a device that are live now. */
  pending(device: string): number {
    let count = 0
    for (const entries of this.#live.get(device)?.values() ?? []) count += entries.length
    return count
  }

  mapped(device: string, address: number, size: number, type: MappingType, direction: number, entries = 1): void {
    let byAddress = this.#live.get(device)
    if (byAddress === undefined) this.#live.set(device, (byAddress = new Map()))
    const entry = { address, size, type, direction, entries }
    const others = byAddress.get(address)
    if (others === undefined) byAddress.set(address, [entry])
    else others.push(entry)
  }

  /** Checks an unmap. False when nothing is mapped there, and the backend must not be asked to unmap it. */
  unmapped(device: string, address: number, size: number, type: MappingType, direction: number, entries = 1): boolean {
    if (address < 0) {
      this.#report('freesInvalidAddress', device, '')
      return false
    }
    const candidates = this.#live.get(device)?.get(address)
    if (candidates === undefined) {
      this.#report('freesUnmapped', device, `[address=${hex(address)}] [size=${size} bytes]`)
      return false
    }
    const entry =
      candidates.find((other) => other.size === size && other.type === type && other.direction === direction) ??
      candidates[0]!
    candidates.splice(candidates.indexOf(entry), 1)
    if (candidates.length === 0) this.#live.get(device)!.delete(address)
    const at = `[address=${hex(address)}]`
    if (entry.size !== size)
      this.#report('wrongSize', device, `${at} [map size=${entry.size} bytes] [unmap size=${size} bytes]`)
    if (entry.type !== type)
      this.#report('wrongFunction', device, `${at} [mapped as ${entry.type}] [unmapped as ${type}]`)
    else if (entry.entries !== entries)
      this.#report('wrongEntryCount', device, `[map count=${entry.entries}] [unmap count=${entries}]`)
    if (entry.direction !== direction) {
      this.#report(
        'wrongDirection',
        device,
        `${at} [mapped with ${directionName(entry.direction)}] [unmapped with ${directionName(direction)}]`,
      )
    }
    return true
  }

  /** Checks a sync of `size` bytes at `address`, which may lie inside a mapping. */
  synced(device: string, address: number, size: number, direction: number, toCpu: boolean): void {
    const entry = this.#containing(device, address)
    const at = `[address=${hex(address)}] [size=${size} bytes]`
    if (entry === null) {
      this.#report('syncsUnmapped', device, at)
      return
    }
    if (address + size > entry.address + entry.size) this.#report('syncsOutside', device, at)
    if (entry.direction === Direction.bidirectional) return
    if (entry.direction !== direction)
      this.#report('syncsWrongDirection', device, `${at} [mapped with ${directionName(entry.direction)}]`)
    if (toCpu && entry.direction === Direction.toDevice) this.#report('syncsForCpuReadOnly', device, at)
    if (!toCpu && entry.direction === Direction.fromDevice) this.#report('syncsForDeviceWriteOnly', device, at)
  }

  /** The driver let go of the device: reports what it left mapped, and forgets it. */
  released(device: string): void {
    const count = this.pending(device)
    if (count > 0) {
      const [first] = this.#live.get(device)!.values()
      const { address, size, type } = first![0]!
      this.#report(
        'leaked',
        device,
        `[count=${count}] One of leaked entries: [address=${hex(address)}] [size=${size} bytes] [mapped as ${type}]`,
      )
    }
    this.#live.delete(device)
  }

  #containing(device: string, address: number): Entry | null {
    for (const entries of this.#live.get(device)?.values() ?? []) {
      for (const entry of entries) if (address >= entry.address && address < entry.address + entry.size) return entry
    }
    return null
  }

  #report(kind: DmaDebugClassName, device: string, detail: string): void {
    const text =
      `DMA-API: ${device}: device driver ${DmaDebugClass[kind].replace('device driver ', '')} ${detail}`.trimEnd()
    this.reports.push({ class: kind, device, text })
    this.#log(text)
  }
}
