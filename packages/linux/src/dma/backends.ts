/**
 * Which DMA backend a device gets: the kernel command line decides, in Linux's grammar, and without a word the hypervisor's offer.
 *
 * | command line | backend |
 * |---|---|
 * | `swiotlb=force` | swiotlb, everything bounces |
 * | `iommu=off` | nommu |
 * | `iommu=soft` | swiotlb, what the device cannot reach bounces |
 * | `iommu=xen` | xen, or the device is not usable |
 * | `iommu.strict=0` | with xen: unmapping leaves its invalidation for later where the control domain allows it |
 * | nothing | the IOMMU of the board, if this kernel drives one; xen where the hypervisor has an I/O space for the device, else as `soft`; nommu with `swiotlb=noforce` |
 */
import { ConfigError } from '@iospace/wire'
import { formatSbdf } from '@iospace/abi'
import type { IommuDriver } from '@iospace/iommu/driver'
import type { Kernel } from '../kernel.ts'
import { isContiguous, makeContiguous } from '../xen/contiguous-region.ts'
import { busBits, openSpace } from '../xen/iommu-space.ts'
import { DmaParameters, type DmaBackend } from './backend.ts'
import { BouncePool } from './bounce-pool.ts'
import { DmaApi } from './dma-api.ts'
import { DmaDebug } from './dma-debug.ts'
import { DmaIommu } from './dma-iommu.ts'
import { DriverTable } from './driver-table.ts'
import { Nommu } from './nommu.ts'
import { Swiotlb } from './swiotlb.ts'
import { TableDomain } from './table-domain.ts'
import { IO_TLB_DEFAULT_SIZE, IO_TLB_MIN_SIZE, IO_TLB_SEGSIZE, IO_TLB_SHIFT } from './swiotlb-constants.ts'
import { XenIommuDomain } from './xen-iommu-domain.ts'

/** The pool takes at most this share of memory, unless `swiotlb=` says how many slots. */
const POOL_SHARE = 1 / 16
/** The pool lies where every device reaches it. */
const LOW_BITS = 32

export class DmaBackends {
  /** Null without `dma_debug=on`. */
  readonly debug: DmaDebug | null
  /** The driver of the board's IOMMU, enabled, where this kernel owns it. Set it before any device is used. */
  iommu: IommuDriver | null = null
  readonly #kernel: Kernel
  readonly #bouncing: Swiotlb[] = []
  #pool: BouncePool | null = null

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.debug = kernel.commandLine.dmaDebug ? new DmaDebug((text) => kernel.log(text)) : null
  }

  /** Payload bytes that went through bounce buffers, each counted once. */
  get bouncedPayload(): number {
    return this.#bouncing.reduce((sum, backend) => sum + backend.bouncedPayload, 0)
  }

  /** The bounce buffer pool; null while no device needed one. */
  get pool(): BouncePool | null {
    return this.#pool
  }

  /** The DMA API of device `sbdf`. ConfigError when the command line demands what the machine does not have. */
  open(sbdf: number): DmaApi {
    const parameters = new DmaParameters()
    if (this.#kernel.isDomain) parameters.busBits = busBits(this.#kernel.hypercalls, sbdf)
    return new DmaApi(formatSbdf(sbdf), this.#choose(sbdf, parameters), parameters, this.debug)
  }

  #choose(sbdf: number, parameters: DmaParameters): DmaBackend {
    const { memory, commandLine, isDomain } = this.#kernel
    const { iommu, swiotlb } = commandLine
    if (swiotlb.force === 'force') return this.#swiotlb(parameters, true)
    if (iommu.off) return new Nommu(memory, parameters)
    if (!iommu.soft && !iommu.xen && this.iommu !== null) {
      const table = DriverTable.open(this.iommu, sbdf)
      if (typeof table === 'number')
        throw new ConfigError('iommu', table, `is the error with which ${formatSbdf(sbdf)} could not be attached`)
      return new DmaIommu(memory, new TableDomain(table), parameters)
    }
    if (!iommu.soft && isDomain) {
      const space = openSpace(this.#kernel.hypercalls, sbdf)
      if (typeof space !== 'number') {
        const { gate } = this.#kernel.hypercalls
        // As in Linux: where deferring is not possible the kernel is strict without a word.
        const lazy = !commandLine.iommuStrict && space.mayDefer
        const domain = new XenIommuDomain(gate, memory, space.space, space.minAddressBits, space.widens, lazy)
        return new DmaIommu(memory, domain, parameters)
      }
    }
    if (iommu.xen)
      throw new ConfigError('iommu', 'xen', `is not possible: the hypervisor has no I/O space for ${formatSbdf(sbdf)}`)
    if (swiotlb.force === 'noforce') return new Nommu(memory, parameters)
    return this.#swiotlb(parameters, false)
  }

  #swiotlb(parameters: DmaParameters, force: boolean): DmaBackend {
    const { memory, platform } = this.#kernel
    this.#pool ??= BouncePool.create(memory, this.#slots(), this.#gather)
    if (this.#pool === null) throw new ConfigError('swiotlb', this.#slots(), 'slots do not fit into memory')
    const backend = new Swiotlb(platform, memory, this.#pool, parameters, force)
    this.#bouncing.push(backend)
    return backend
  }

  /** Only a domain's pages lie anywhere in the machine. */
  readonly #gather = (pfn: number, order: number): boolean => {
    const { isDomain, memory } = this.#kernel
    if (!isDomain || isContiguous(memory, pfn, 2 ** order, LOW_BITS)) return isDomain
    return makeContiguous(this.#kernel.hypercalls, memory, pfn, order, LOW_BITS)
  }

  #slots(): number {
    const wanted = this.#kernel.commandLine.swiotlb.slots
    if (wanted !== null) return wanted
    const share = Math.max(IO_TLB_MIN_SIZE, this.#kernel.memory.pages.freePages * 4096 * POOL_SHARE)
    const slots = Math.floor(Math.min(IO_TLB_DEFAULT_SIZE, share)) >> IO_TLB_SHIFT
    return Math.floor(slots / IO_TLB_SEGSIZE) * IO_TLB_SEGSIZE
  }
}
