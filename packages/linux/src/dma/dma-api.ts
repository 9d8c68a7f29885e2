/**
 * The DMA API of one device, as drivers use it (Linux Documentation/core-api/dma-api.rst). Mapping hands memory to the device,
 * unmapping or syncing hands it back; nothing here waits, so all of it may be called anywhere.
 *
 * Bus addresses are numbers; what a failed mapping returns is tested with `isMappingError`. Everything the device may do with the
 * memory follows from the direction.
 */
import { PAGE_SHIFT, PAGE_SIZE } from '@iospace/abi'
import { StateError, ValueError } from '@iospace/wire'
import type { KernelBuffer } from '../memory/kernel-buffer.ts'
import type { CoherentBuffer, DmaBackend, DmaParameters } from './backend.ts'
import { Direction, DMA_MAPPING_ERROR } from './direction.ts'
import type { DmaDebug } from './dma-debug.ts'
import type { ScatterList } from './scatterlist.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { bidirectional: BIDIRECTIONAL, toDevice: TO_DEVICE, fromDevice: FROM_DEVICE } = Direction

/** A mapping that ends with its scope: `using mapping = dma.map(…)`. */
export interface DmaMapping {
  readonly address: number
  readonly length: number
  [Symbol.dispose](): void
}

/** How `ScatterList.mapped` says what its mapping is. */
const LIST = 1
const EACH = 2

export class DmaApi {
  /** For messages. */
  declare readonly device: string
  /** Limits that the driver has told; change them through the setters. */
  declare readonly parameters: DmaParameters
  readonly #backend: DmaBackend
  declare private readonly debug: DmaDebug | null

  constructor(device: string, backend: DmaBackend, parameters: DmaParameters, debug: DmaDebug | null) {
    this.device = device
    this.parameters = parameters
    this.#backend = backend
    this.debug = debug
  }

  /** `nommu`, `swiotlb`, `xen`… */
  get backend(): string {
    return this.#backend.name
  }

  /** Whether scatterlists of granted pages can be mapped as they are; else map the pages for the CPU first. */
  get takesGrants(): boolean {
    return this.#backend.takesGrants
  }

  /** Says how many address bits the device drives, 24 to 64 (dma_set_mask_and_coherent). 0, or −EIO when no memory could be reached so. */
  setMask(bits: number): number {
    const error = this.#backend.checkMask(bits)
    if (error !== 0) return error
    this.parameters.maskBits = Math.min(bits, this.parameters.busBits)
    this.parameters.coherentMaskBits = this.parameters.maskBits
    return 0
  }

  /** Address bits that mappings must keep (dma_set_min_align_mask). Before asking {@link maxMappingSize}. */
  setMinAlignMask(mask: number): void {
    this.parameters.minAlignMask = mask
  }

  setMaxSegmentSize(bytes: number): void {
    this.parameters.maxSegmentSize = bytes
  }

  /** `boundary`: a power of two of bytes that no segment may cross a multiple of. */
  setSegmentBoundary(boundary: number): void {
    if (boundary < PAGE_SIZE || Math.log2(boundary) % 1 !== 0)
      throw new ValueError(
        'segment boundary',
        undefined,
        undefined,
        boundary,
        'is not a power of two of at least a page',
      )
    this.parameters.segmentBoundary = boundary
  }

  /** Bytes of the largest single mapping. */
  maxMappingSize(): number {
    return this.#backend.maxMappingSize()
  }

  /** {@link mapSingle} as a scoped resource; null when it failed. */
  map(buffer: KernelBuffer, direction: number): DmaMapping | null {
    const address = this.mapSingle(buffer, direction)
    if (address < 0) return null
    const { length } = buffer
    return { address, length, [Symbol.dispose]: () => this.unmapSingle(address, length, direction) }
  }

  /** Maps a buffer, or `length` bytes from `at` in it: its bus address, or {@link DMA_MAPPING_ERROR}. */
  mapSingle(buffer: KernelBuffer, direction: number, at = 0, length: number = buffer.length - at): number {
    checkDirection(direction)
    if (length <= 0 || at < 0 || at + length > buffer.length)
      throw new ValueError('dma mapping', undefined, at, length, 'bytes do not lie in the buffer')
    const position = buffer.offset + at
    const address = this.#backend.mapSingle(
      buffer.pfn + (position >> PAGE_SHIFT),
      position & (PAGE_SIZE - 1),
      length,
      direction,
    )
    if (this.debug !== null && address !== DMA_MAPPING_ERROR)
      this.debug.mapped(this.device, address, length, 'single', direction)
    return address
  }

  /** Ends a mapping of {@link mapSingle}; address, length and direction as there. */
  unmapSingle(address: number, length: number, direction: number): void {
    checkDirection(direction)
    if (this.debug !== null && !this.debug.unmapped(this.device, address, length, 'single', direction)) return
    this.#backend.unmapSingle(address, length, direction)
  }

  /**
   * Maps a list as one transfer. How many segments the device sees (1 to `count`), in the list's columns; or −EINVAL (never retry),
   * −ENOMEM, −EIO and, for grants, what the hypervisor said, with nothing mapped.
   */
  mapSg(list: ScatterList, direction: number): number {
    this.#checkList(list, direction)
    const result = this.#backend.mapSg(list, direction)
    return result < 0 ? result : this.#wasMapped(list, direction, LIST, result)
  }

  /** Ends a mapping of {@link mapSg}. */
  unmapSg(list: ScatterList, direction: number): void {
    if (!this.#mayUnmap(list, direction, LIST)) return
    list.mapped = 0
    this.#backend.unmapSg(list, direction)
  }

  /** Maps every entry for itself, all in one batch; segment i is entry i. `count`, or −errno with nothing mapped. */
  mapEach(list: ScatterList, direction: number): number {
    this.#checkList(list, direction)
    const result = this.#backend.mapEach(list, direction)
    return result < 0 ? result : this.#wasMapped(list, direction, EACH, result)
  }

  /** Ends the mappings of {@link mapEach}, all in one batch. */
  unmapEach(list: ScatterList, direction: number): void {
    if (!this.#mayUnmap(list, direction, EACH)) return
    list.mapped = 0
    this.#backend.unmapEach(list, direction)
  }

  /** Lets the CPU see what the device wrote to `length` bytes at `offset` of the mapping at `address`, which stays mapped. */
  syncForCpu(address: number, length: number, direction: number, offset = 0): void {
    checkDirection(direction)
    this.debug?.synced(this.device, address + offset, length, direction, true)
    this.#backend.syncForCpu(address, offset, length, direction)
  }

  /** Lets the device see what the CPU wrote, and hands the bytes back to it. */
  syncForDevice(address: number, length: number, direction: number, offset = 0): void {
    checkDirection(direction)
    this.debug?.synced(this.device, address + offset, length, direction, false)
    this.#backend.syncForDevice(address, offset, length, direction)
  }

  /** Zeroed memory that CPU and device use at once, page aligned; null when there is none that the device reaches. */
  allocateCoherent(bytes: number): CoherentBuffer | null {
    const coherent = this.#backend.allocateCoherent(bytes)
    if (coherent !== null) this.debug?.mapped(this.device, coherent.address, bytes, 'coherent', BIDIRECTIONAL)
    return coherent
  }

  freeCoherent(coherent: CoherentBuffer): void {
    if (
      this.debug !== null &&
      !this.debug.unmapped(this.device, coherent.address, coherent.buffer.length, 'coherent', BIDIRECTIONAL)
    )
      return
    this.#backend.freeCoherent(coherent)
  }

  /** @internal The driver let go of the device. */
  release(): void {
    this.debug?.released(this.device)
    this.#backend.release()
  }

  #checkList(list: ScatterList, direction: number): void {
    checkDirection(direction)
    if (list.count === 0) throw new ValueError('scatterlist', undefined, undefined, 0, 'entries cannot be mapped')
    if (list.mapped !== 0) throw new StateError('scatterlist', 'is mapped already')
  }

  #wasMapped(list: ScatterList, direction: number, mapped: number, segments: number): number {
    list.mapped = mapped
    list.direction = direction
    if (this.debug !== null) {
      for (let i = 0; i < segments; i++)
        this.debug.mapped(this.device, list.address(i), list.dmaLengths[i]!, 'scatter-gather', direction, list.count)
    }
    return segments
  }

  #mayUnmap(list: ScatterList, direction: number, mapped: number): boolean {
    checkDirection(direction)
    if (this.debug !== null) {
      let known = list.segments > 0
      if (!known) this.debug.unmapped(this.device, list.address(0), list.bytes, 'scatter-gather', direction, list.count)
      for (let i = 0; i < list.segments; i++) {
        known =
          this.debug.unmapped(
            this.device,
            list.address(i),
            list.dmaLengths[i]!,
            'scatter-gather',
            direction,
            list.count,
          ) && known
      }
      if (!known) return false
    }
    if (list.mapped !== mapped) throw new StateError('scatterlist', 'is not mapped, or not in this way')
    return true
  }
}

function checkDirection(direction: number): void {
  if (direction !== BIDIRECTIONAL && direction !== TO_DEVICE && direction !== FROM_DEVICE) {
    throw new ValueError('direction', undefined, undefined, direction, 'is not a direction of a mapping')
  }
}
