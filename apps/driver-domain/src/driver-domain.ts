/**
 * The driver domain's program: takes every NVMe controller that it was given, serves their disks to other domains, and ends when the
 * toolstack asks it to.
 */
import { Blkback, nvmeDriver, shutdownRequest, type Kernel } from '@iospace/linux'

export interface DriverDomainOptions {
  /** Called when the domain ends in order, with what its kernel counted. */
  readonly onEnd?: (counts: DriverDomainCounts) => void
}

export interface DriverDomainCounts {
  /** How its controllers reach memory: `xen`, `swiotlb`, `nommu`. */
  readonly backend: string
  /** Payload bytes that went through bounce buffers. */
  readonly bouncedBytes: number
}

/** The program. */
export function driverDomain({ onEnd }: DriverDomainOptions = {}): (kernel: Kernel) => Promise<void> {
  return async (kernel) => {
    const [controller] = await kernel.pci.register(nvmeDriver)
    const backend = controller?.dma.backend ?? 'none'
    await kernel.xenbus.register(new Blkback())
    await shutdownRequest(kernel)
    await kernel.shutdown()
    onEnd?.({ backend, bouncedBytes: kernel.dma.bouncedPayload })
  }
}
