export { bootKernel, type BareMetalBoot } from './boot.ts'
export { Kernel, type XenServices } from './kernel.ts'
export type { InterruptMessage, Platform, PlatformInterrupts, PlatformMemory } from './platform.ts'
export { CommandLine, type IommuOptions, type SwiotlbOptions } from './command-line.ts'
export { KernelBuffer } from './memory/kernel-buffer.ts'
export { KernelMemory } from './memory/kernel-memory.ts'
export { MAX_ORDER, orderOf, PageAllocator } from './memory/page-allocator.ts'
export { SlotAllocator } from './memory/slot-allocator.ts'

export { Direction, DMA_MAPPING_ERROR, isMappingError } from './dma/direction.ts'
export { DmaApi, type DmaMapping } from './dma/dma-api.ts'
export { OWN_PAGES, ScatterList } from './dma/scatterlist.ts'
export { DmaDebug, DmaDebugClass, type DmaDebugClassName, type DmaDebugReport } from './dma/dma-debug.ts'
export { DmaParameters, type CoherentBuffer, type DmaBackend } from './dma/backend.ts'
export { DmaIommu } from './dma/dma-iommu.ts'
export type { IommuDomain } from './dma/iommu-domain.ts'
export { TableDomain, type IommuTable } from './dma/table-domain.ts'
export { XenIommuDomain } from './dma/xen-iommu-domain.ts'

export { PciBus } from './pci/pci-bus.ts'
export { PciDevice, Registers } from './pci/pci-device.ts'
export type { PciDriver, PciId } from './pci/pci-driver.ts'

export { bareMetal } from './bare-metal.ts'
export { streamBlocks, type StreamFailure, type StreamOptions, type StreamResult } from './block/stream-blocks.ts'
export { nvmeDriver } from './drivers/nvme/nvme.ts'
export {
  BlockOp,
  BlockRequest,
  BlockStatus,
  SECTOR_SHIFT,
  SECTOR_SIZE,
  submit,
  type BlockDevice,
} from './block/block-device.ts'

export { mapForeign, unmapForeign } from './xen/add-to-physmap.ts'
export { EventChannels, type EventHandler } from './xen/events.ts'
export { GrantTable } from './xen/grant-table.ts'
export { Hypercalls, type HypercallGate } from './xen/hypercalls.ts'
export { GrantMaps } from './xen/grant-maps.ts'
export { blkfront, diskName } from './xen/blkfront/blkfront.ts'
export { XenDisk } from './xen/blkfront/xen-disk.ts'
export { Blkback } from './xen/blkback/blkback.ts'
export { BlkbackStats } from './xen/blkback/blkback-stats.ts'
export { shutdownRequest } from './xen/shutdown-request.ts'
export { ByteRing } from './xen/xenbus/byte-ring.ts'
export { Xenbus, type XenbusDriver, type XenbusEnd } from './xen/xenbus/xenbus.ts'
export { XenbusDevice } from './xen/xenbus/xenbus-device.ts'
export { XenstoreClient, type Watch, type XenstoreAnswer, type XenstoreStatus } from './xen/xenbus/xenstore-client.ts'
