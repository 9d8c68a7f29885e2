/**
 * An ideal IOMMU for one device: a table of pages, and a cache that keeps a cleared entry until it is invalidated, as real ones do. It
 * is both what the kernel programs and what stands between the bus and memory, so a test sees what a device really reaches.
 */
import { Errno } from '@iospace/abi'
import { DmaOutcome, type DmaTranslator, type Machine, PciFunction } from '@iospace/machine'
import type { IommuTable } from '../../src/index.ts'

interface Entry {
  readonly gfn: number
  readonly access: number
}

export class ModelIommu implements IommuTable, DmaTranslator {
  readonly name = 'model'
  readonly firstPage = 1
  readonly lastPage = 0xffff
  readonly table = new Map<number, Entry>()
  readonly #stale = new Map<number, Entry>()
  readonly #machine: Machine
  /** The n-th `map` from now fails. */
  failAfter = Infinity

  constructor(machine: Machine) {
    this.#machine = machine
  }

  map(page: number, gfn: number, pages: number, access: number): number {
    if (this.failAfter-- <= 0) return -Errno.ENOMEM
    for (let i = 0; i < pages; i++) {
      if (this.table.has(page + i) || this.#stale.has(page + i))
        throw new Error(`page ${page + i} is handed out while it is in use or cached`)
      this.table.set(page + i, { gfn: gfn + i, access })
    }
    return 0
  }

  unmap(page: number, pages: number): number {
    for (let i = 0; i < pages; i++) {
      const entry = this.table.get(page + i)
      if (entry === undefined) return -Errno.ENOENT
      this.table.delete(page + i)
      this.#stale.set(page + i, entry)
    }
    return 0
  }

  invalidate(): number {
    this.#stale.clear()
    return 0
  }

  release(): void {}

  /** Pages that the device can reach, cached entries included. */
  get reachable(): number {
    return this.table.size + this.#stale.size
  }

  dmaRead(_requester: number, hi: number, lo: number, at: number, length: number): number {
    return this.#move(hi, lo, at, length, 1)
  }

  dmaWrite(_requester: number, hi: number, lo: number, at: number, length: number): number {
    return this.#move(hi, lo, at, length, 2)
  }

  #move(hi: number, lo: number, at: number, length: number, access: number): number {
    const { memory } = this.#machine
    const address = (hi >>> 0) * 2 ** 32 + (lo >>> 0)
    for (let done = 0; done < length;) {
      const page = Math.floor((address + done) / 4096)
      const offset = (address + done) % 4096
      const entry = this.table.get(page) ?? this.#stale.get(page)
      if (entry === undefined || (entry.access & access) === 0) return DmaOutcome.blocked
      const piece = Math.min(length - done, 4096 - offset)
      const there = memory.frameOffset(entry.gfn) + offset
      if (access === 1) memory.copy(at + done, there, piece)
      else memory.copy(there, at + done, piece)
      done += piece
    }
    return DmaOutcome.translated
  }
}

/** A device that a test moves by hand. */
export class Hand extends PciFunction {
  readonly at: number
  readonly #machine: Machine

  constructor(machine: Machine) {
    super({ vendorId: 0xf0f0, deviceId: 1, classCode: 0xff0000 })
    this.#machine = machine
    this.at = machine.memory.boardMemory(65536)
  }

  protected override onReset(): void {}

  /** Writes `bytes` to bus `address`; the outcome. */
  put(address: number, bytes: Uint8Array): number {
    this.#machine.memory.bytes.set(bytes, this.at)
    return this.dmaWrite(Math.floor(address / 2 ** 32), address | 0, this.at, bytes.length)
  }

  /** What `length` bytes at bus `address` are; null when the access did not succeed. */
  get(address: number, length: number): Uint8Array | null {
    const outcome = this.dmaRead(Math.floor(address / 2 ** 32), address | 0, this.at, length)
    return outcome > 0 ? this.#machine.memory.bytes.slice(this.at, this.at + length) : null
  }
}

/** Puts a {@link Hand} on the bus that may master it. */
export function addHand(machine: Machine): Hand {
  const hand = new Hand(machine)
  machine.pci.add(0, 8, hand)
  machine.pci.configWrite(8, 4, 2, 4)
  return hand
}
