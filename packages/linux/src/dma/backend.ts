/** What stands behind the DMA API for one device: how a piece of memory gets an address that the device can use. */
import type { KernelBuffer } from '../memory/kernel-buffer.ts'
import type { ScatterList } from './scatterlist.ts'

/** What a device's driver has told about it (Linux struct device_dma_parameters and the masks). */
export class DmaParameters {
  /** Bits of an address that reach memory on the device's bus (Linux bus_dma_limit), whatever the device drives. */
  busBits = 64
  /** Bits of an address that the device drives, for streaming and for coherent mappings. 32 until a driver says otherwise. */
  maskBits = 32
  coherentMaskBits = 32
  /** Bytes of the largest segment. */
  maxSegmentSize = 0x10000
  /** No segment may cross a multiple of this power of two of bytes. */
  segmentBoundary = 2 ** 32
  /** Address bits that a mapping must preserve: NVMe needs the offset in a page. */
  minAlignMask = 0
}

/** Memory for CPU and device at once. */
export interface CoherentBuffer {
  readonly buffer: KernelBuffer
  /** Bus address of its first byte; all of it follows without a gap. */
  readonly address: number
}

/** One of `nommu`, `swiotlb`, or a dma-iommu domain; made per device. Directions and sizes were checked by the DMA API. */
export interface DmaBackend {
  readonly name: string
  /** Takes lists of granted pages; else the caller must map them for the CPU first. */
  readonly takesGrants: boolean
  /** Why `bits` bits of address are too few, or 0. −EIO. */
  checkMask(bits: number): number
  /** Bytes of the largest mapping. */
  maxMappingSize(): number
  /** Maps `length` bytes from `offset` in page `pfn`; the bus address or {@link DMA_MAPPING_ERROR}. */
  mapSingle(pfn: number, offset: number, length: number, direction: number): number
  unmapSingle(address: number, length: number, direction: number): void
  /** Maps a list as one transfer and fills its segments: how many, or −errno with nothing mapped. */
  mapSg(list: ScatterList, direction: number): number
  unmapSg(list: ScatterList, direction: number): void
  /** Maps each entry for itself (segment i is entry i): `count`, or −errno with nothing mapped. One hypercall where there is one. */
  mapEach(list: ScatterList, direction: number): number
  unmapEach(list: ScatterList, direction: number): void
  /** Gives `length` bytes from `offset` in the mapping at `address` to the CPU, or back to the device. */
  syncForCpu(address: number, offset: number, length: number, direction: number): void
  syncForDevice(address: number, offset: number, length: number, direction: number): void
  /** `bytes` zeroed bytes with one bus address, page aligned on both sides; null when there are none. */
  allocateCoherent(bytes: number): CoherentBuffer | null
  freeCoherent(coherent: CoherentBuffer): void
  /** The driver is gone: give back what belongs to the device. */
  release(): void
}
