/**
 * Bounce buffers (Linux kernel/dma/swiotlb.c with dma-direct): a mapping that the device cannot reach directly, or every one with
 * `swiotlb=force`, is copied through a pool that it can reach.
 *
 * Mapping always copies into the bounce buffer, also for data from the device, so that a transfer that the device cuts short
 * leaves the rest of the caller's buffer as it was and shows it nothing of the pool's past.
 */
import { Errno, PAGE_SHIFT, PAGE_SIZE } from '@iospace/abi'
import { Count } from '@iospace/machine'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import type { Platform } from '../platform.ts'
import type { CoherentBuffer, DmaBackend, DmaParameters } from './backend.ts'
import type { BouncePool } from './bounce-pool.ts'
import { DMA_MAPPING_ERROR, readsMemory, writesMemory } from './direction.ts'
import { machineRun } from './machine-run.ts'
import { Nommu } from './nommu.ts'
import { OWN_PAGES, type ScatterList } from './scatterlist.ts'
import { IO_TLB_SEGSIZE, IO_TLB_SIZE } from './swiotlb-constants.ts'

const PAGE_MASK = PAGE_SIZE - 1

export class Swiotlb implements DmaBackend {
  readonly name = 'swiotlb'
  readonly takesGrants = false
  /** Payload bytes that went through the pool, each counted once however often it was copied. */
  bouncedPayload = 0
  readonly #platform: Platform
  readonly #memory: KernelMemory
  readonly #pool: BouncePool
  readonly #parameters: DmaParameters
  readonly #force: boolean
  readonly #direct: Nommu

  /** `force`: bounce even what the device could reach. */
  constructor(platform: Platform, memory: KernelMemory, pool: BouncePool, parameters: DmaParameters, force: boolean) {
    this.#platform = platform
    this.#memory = memory
    this.#pool = pool
    this.#parameters = parameters
    this.#force = force
    this.#direct = new Nommu(memory, parameters)
  }

  checkMask(bits: number): number {
    return this.#direct.checkMask(bits)
  }

  maxMappingSize(): number {
    const align = Math.ceil(this.#parameters.minAlignMask / IO_TLB_SIZE) * IO_TLB_SIZE
    const set = IO_TLB_SEGSIZE * IO_TLB_SIZE - align
    return Math.min(set, Math.max(PAGE_SIZE, this.#pool.largestRun() - align))
  }

  mapSingle(pfn: number, offset: number, length: number, direction: number): number {
    if (!this.#force) {
      const direct = this.#direct.mapSingle(pfn, offset, length, direction)
      if (direct >= 0) return direct
    }
    const slot = this.#bounce(pfn, offset, length)
    return slot < 0 ? DMA_MAPPING_ERROR : this.#pool.frame(slot) * PAGE_SIZE + this.#pool.offset(slot)
  }

  unmapSingle(address: number, length: number, direction: number): void {
    const slot = this.#pool.find(address)
    if (slot >= 0) this.#release(slot, length, direction)
  }

  mapSg(list: ScatterList, direction: number): number {
    if (list.granter !== OWN_PAGES) return -Errno.EINVAL
    const limit = 2 ** this.#parameters.maskBits
    for (let i = 0; i < list.count; i++) {
      const length = list.lengths[i]!
      let offset = list.offsets[i]!
      let mfn = this.#force ? -1 : machineRun(this.#memory.platform, list.pages[i]!, offset, length)
      list.handles[i] = 0
      if (mfn < 0 || mfn * PAGE_SIZE + offset + length > limit) {
        const slot = this.#bounce(list.pages[i]!, offset, length)
        if (slot < 0) {
          this.#unmapFirst(list, i, direction, false)
          return -Errno.ENOMEM
        }
        list.handles[i] = slot + 1
        mfn = this.#pool.frame(slot)
        offset = this.#pool.offset(slot)
      }
      list.dmaHigh[i] = mfn >>> (32 - PAGE_SHIFT)
      list.dmaLow[i] = (mfn << PAGE_SHIFT) | offset
      list.dmaLengths[i] = length
    }
    list.segments = list.count
    return list.count
  }

  unmapSg(list: ScatterList, direction: number): void {
    this.#unmapFirst(list, list.count, direction, true)
    list.segments = 0
  }

  mapEach(list: ScatterList, direction: number): number {
    return this.mapSg(list, direction)
  }

  unmapEach(list: ScatterList, direction: number): void {
    this.unmapSg(list, direction)
  }

  syncForCpu(address: number, offset: number, length: number, direction: number): void {
    const slot = this.#pool.find(address)
    if (slot >= 0 && writesMemory(direction)) this.#copy(slot, this.#clamp(slot, address, offset), length, false)
  }

  syncForDevice(address: number, offset: number, length: number, direction: number): void {
    const slot = this.#pool.find(address)
    if (slot >= 0 && readsMemory(direction)) this.#copy(slot, this.#clamp(slot, address, offset), length, true)
  }

  allocateCoherent(bytes: number): CoherentBuffer | null {
    return this.#direct.allocateCoherent(bytes)
  }

  freeCoherent(coherent: CoherentBuffer): void {
    this.#direct.freeCoherent(coherent)
  }

  release(): void {}

  #bounce(pfn: number, offset: number, length: number): number {
    const pool = this.#pool
    const slot = pool.allocate(length, offset, this.#parameters.minAlignMask, 2 ** this.#parameters.maskBits)
    if (slot < 0) return -1
    pool.originalPage[slot] = pfn
    pool.originalOffset[slot] = offset
    pool.originalLength[slot] = length
    this.bouncedPayload += length
    this.#copy(slot, 0, length, true)
    return slot
  }

  #release(slot: number, length: number, direction: number): void {
    if (writesMemory(direction)) this.#copy(slot, 0, Math.min(length, this.#pool.originalLength[slot]!), false)
    this.#pool.free(slot)
  }

  #unmapFirst(list: ScatterList, count: number, direction: number, copyBack: boolean): void {
    for (let i = 0; i < count; i++) {
      const slot = list.handles[i]! - 1
      if (slot < 0) continue
      if (copyBack) this.#release(slot, list.lengths[i]!, direction)
      else this.#pool.free(slot)
      list.handles[i] = 0
    }
  }

  // A sync may name any part of the mapping; where it begins relative to the mapping's first byte.
  #clamp(slot: number, address: number, offset: number): number {
    return Math.max(0, address + offset - (this.#pool.frame(slot) * PAGE_SIZE + this.#pool.offset(slot)))
  }

  #copy(slot: number, at: number, length: number, toBounce: boolean): void {
    const pool = this.#pool
    const memory = this.#memory.platform
    const end = Math.min(at + length, pool.originalLength[slot]!)
    for (let done = at; done < end;) {
      const original = pool.originalOffset[slot]! + done
      const bounce = pool.offset(slot) + done
      const piece = Math.min(end - done, PAGE_SIZE - (original & PAGE_MASK), PAGE_SIZE - (bounce & PAGE_MASK))
      const there = memory.frameOffset(pool.originalPage[slot]! + (original >> PAGE_SHIFT)) + (original & PAGE_MASK)
      const here = memory.frameOffset(pool.page(slot) + (bounce >> PAGE_SHIFT)) + (bounce & PAGE_MASK)
      if (toBounce) memory.copy(here, there, piece)
      else memory.copy(there, here, piece)
      done += piece
    }
    if (end > at) this.#platform.charge(Count.bounceCopyByte, end - at)
  }
}
