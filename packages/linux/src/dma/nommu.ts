/**
 * No IOMMU: the bus address is the machine address (Linux arch/x86/kernel/pci-nommu.c). An entry that the device cannot reach, or
 * whose pages are not side by side in the machine, is an error: there is nothing that could help.
 */
import { Errno, PAGE_SHIFT, PAGE_SIZE } from '@iospace/abi'
import type { KernelBuffer } from '../memory/kernel-buffer.ts'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import { OWN_PAGES, type ScatterList } from './scatterlist.ts'
import type { CoherentBuffer, DmaBackend, DmaParameters } from './backend.ts'
import { DMA_MAPPING_ERROR } from './direction.ts'
import { machineRun } from './machine-run.ts'

/** Fewer address bits are refused: `dma_supported` of pci-nommu. */
const MIN_MASK_BITS = 24
/** Blocks looked at for one that the device reaches and whose frames lie side by side. */
const COHERENT_TRIES = 256

export class Nommu implements DmaBackend {
  readonly name = 'nommu'
  readonly takesGrants = false
  readonly #memory: KernelMemory
  readonly #parameters: DmaParameters

  constructor(memory: KernelMemory, parameters: DmaParameters) {
    this.#memory = memory
    this.#parameters = parameters
  }

  checkMask(bits: number): number {
    return bits < MIN_MASK_BITS ? -Errno.EIO : 0
  }

  maxMappingSize(): number {
    return Number.MAX_SAFE_INTEGER
  }

  mapSingle(pfn: number, offset: number, length: number, _direction: number): number {
    const mfn = machineRun(this.#memory.platform, pfn, offset, length)
    if (mfn < 0) return DMA_MAPPING_ERROR
    const address = mfn * PAGE_SIZE + offset
    return address + length > 2 ** this.#parameters.maskBits ? DMA_MAPPING_ERROR : address
  }

  unmapSingle(): void {}

  mapSg(list: ScatterList, _direction: number): number {
    if (list.granter !== OWN_PAGES) return -Errno.EINVAL
    const limit = 2 ** this.#parameters.maskBits
    for (let i = 0; i < list.count; i++) {
      const offset = list.offsets[i]!
      const length = list.lengths[i]!
      const mfn = machineRun(this.#memory.platform, list.pages[i]!, offset, length)
      if (mfn < 0 || mfn * PAGE_SIZE + offset + length > limit) return -Errno.EIO
      list.dmaHigh[i] = mfn >>> (32 - PAGE_SHIFT)
      list.dmaLow[i] = (mfn << PAGE_SHIFT) | offset
      list.dmaLengths[i] = length
    }
    list.segments = list.count
    return list.count
  }

  unmapSg(list: ScatterList, _direction: number): void {
    list.segments = 0
  }

  mapEach(list: ScatterList, direction: number): number {
    return this.mapSg(list, direction)
  }

  unmapEach(list: ScatterList, _direction: number): void {
    list.segments = 0
  }

  syncForCpu(): void {}

  syncForDevice(): void {}

  allocateCoherent(bytes: number): CoherentBuffer | null {
    const limit = 2 ** this.#parameters.coherentMaskBits
    const passed: KernelBuffer[] = []
    let found: CoherentBuffer | null = null
    while (found === null && passed.length < COHERENT_TRIES) {
      const buffer = this.#memory.allocate(bytes)
      if (buffer === null) break
      const mfn = machineRun(this.#memory.platform, buffer.pfn, 0, bytes)
      if (mfn >= 0 && (mfn + buffer.pages) * PAGE_SIZE <= limit) found = { buffer, address: mfn * PAGE_SIZE }
      else passed.push(buffer)
    }
    for (const buffer of passed) this.#memory.free(buffer)
    return found
  }

  freeCoherent({ buffer }: CoherentBuffer): void {
    this.#memory.free(buffer)
  }

  release(): void {}
}
