/** What the control domain asks of the hypervisor about other domains, call by call. Results are 0, a value, or a negative errno. */
import {
  domctl_assign_device,
  domctl_createdomain,
  domctl_getdomaininfo,
  domctl_max_mem,
  DOMID,
  EVTCHNOP,
  evtchn_alloc_unbound,
  HARDWARE_KIND,
  IOMMU_MAGIC,
  IOMMU_OP,
  iommu_query,
  xen_domctl,
  XEN_DOMCTL,
  XEN_DOMCTL_CDF,
  XEN_DOMCTL_DEV,
  XEN_DOMCTL_INTERFACE_VERSION,
  XEN_DOMINF,
  xen_memory_reservation,
  XENMEM,
} from '@iospace/abi'
import type { Kernel } from '@iospace/linux'

/** What getdomaininfo tells. */
export interface DomainInfo {
  readonly domid: number
  readonly dying: boolean
  /** SHUTDOWN reason; null while it runs. */
  readonly shutdown: number | null
  /** Frames that it has. */
  readonly pages: number
}

const ENVELOPE = { interface_version: XEN_DOMCTL_INTERFACE_VERSION, domain: 0 } as const
/** Frames per populate call: one page of frame numbers. */
const BATCH = 512
const EAGAIN = -11
const ENOMEM = -12

export class DomainControl {
  readonly #kernel: Kernel

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  /** An empty, paused PV domain that may have devices, if there is an IOMMU to confine them: its id. `handle`: 16 bytes of ours. */
  create(handle: Uint8Array): number {
    const zero = domctl_createdomain.zero()
    const value = {
      ...zero,
      ...ENVELOPE,
      cmd: XEN_DOMCTL.createdomain,
      u: {
        ...zero.u,
        handle,
        // Xen refuses the flag on a machine without an IOMMU.
        flags: this.#hasIommu() ? XEN_DOMCTL_CDF.iommu : 0,
        max_vcpus: 1,
        max_grant_frames: -1,
        max_maptrack_frames: -1,
        grant_opts: 1,
      },
    }
    const result = this.#kernel.hypercalls.callDirect('domctl', domctl_createdomain, value)
    return result < 0 ? result : value.domain
  }

  /** The most memory that it may have, in pages. */
  setMaxMemory(domid: number, pages: number): number {
    const value = { ...domctl_max_mem.zero(), ...ENVELOPE, cmd: XEN_DOMCTL.max_mem, domain: domid }
    return this.#kernel.hypercalls.callDirect('domctl', domctl_max_mem, {
      ...value,
      u: { max_memkb: BigInt(pages * 4) },
    })
  }

  /** Gives it frames at pfns `first`…`first + count − 1`. Their machine frames, or −ENOMEM when it did not get all. */
  populate(domid: number, first: number, count: number): Float64Array | number {
    const { memory, hypercalls } = this.#kernel
    const list = memory.allocate(4096)
    if (list === null) return ENOMEM
    const frames = new Float64Array(count)
    try {
      for (let done = 0; done < count; done += BATCH) {
        const batch = Math.min(BATCH, count - done)
        for (let i = 0; i < batch; i++) {
          list.write32(i * 8, first + done + i)
          list.write32(i * 8 + 4, 0)
        }
        const value = {
          ...xen_memory_reservation.zero(),
          extent_start: BigInt(list.address()),
          nr_extents: BigInt(batch),
          domid,
        }
        const result = hypercalls.call('memory_op', XENMEM.populate_physmap, xen_memory_reservation, value)
        if (result < batch) return result < 0 ? result : ENOMEM
        for (let i = 0; i < batch; i++) frames[done + i] = list.read32(i * 8) + list.read32(i * 8 + 4) * 2 ** 32
      }
    } finally {
      memory.free(list)
    }
    return frames
  }

  /** An event channel port of `domid` that the control domain may bind to. */
  allocatePort(domid: number): number {
    const value = { dom: domid, remote_dom: DOMID.SELF, port: 0 }
    const result = this.#kernel.hypercalls.call('event_channel_op', EVTCHNOP.alloc_unbound, evtchn_alloc_unbound, value)
    return result < 0 ? result : value.port
  }

  unpause(domid: number): number {
    return this.#plain(XEN_DOMCTL.unpausedomain, domid)
  }

  /** Ends a domain: devices are blocked, mappings end, references are dropped, memory goes back. Preemptible: done when it answers 0. */
  destroy(domid: number): number {
    let result = this.#plain(XEN_DOMCTL.destroydomain, domid)
    while (result === EAGAIN) result = this.#plain(XEN_DOMCTL.destroydomain, domid)
    return result
  }

  /** Facts about a domain; null when there is none of that id. */
  info(domid: number): DomainInfo | null {
    const value = { ...domctl_getdomaininfo.zero(), ...ENVELOPE, cmd: XEN_DOMCTL.getdomaininfo, domain: domid }
    if (this.#kernel.hypercalls.callDirect('domctl', domctl_getdomaininfo, value) < 0) return null
    const { u } = value
    // The call answers for the next domain where this one is gone.
    if (u.domain !== domid) return null
    const reason = (u.flags >>> XEN_DOMINF.shutdownshift) & XEN_DOMINF.shutdownmask
    return {
      domid,
      dying: (u.flags & XEN_DOMINF.dying) !== 0,
      shutdown: (u.flags & XEN_DOMINF.shutdown) === 0 ? null : reason,
      pages: Number(u.tot_pages),
    }
  }

  /** Whether `sbdf` could be assigned to `domid` now. */
  testAssign(domid: number, sbdf: number): number {
    return this.#device(XEN_DOMCTL.test_assign_device, domid, sbdf)
  }

  assign(domid: number, sbdf: number): number {
    return this.#device(XEN_DOMCTL.assign_device, domid, sbdf)
  }

  deassign(domid: number, sbdf: number): number {
    return this.#device(XEN_DOMCTL.deassign_device, domid, sbdf)
  }

  #hasIommu(): boolean {
    const value = { ...iommu_query.zero(), size: iommu_query.size, domid: DOMID.SELF }
    const result = this.#kernel.hypercalls.call('iommu_op', IOMMU_OP.query, iommu_query, value)
    return result === 0 && value.magic === IOMMU_MAGIC && value.hardware_kind !== HARDWARE_KIND.NONE
  }

  #device(cmd: number, domid: number, sbdf: number): number {
    const value = { ...domctl_assign_device.zero(), ...ENVELOPE, cmd, domain: domid }
    const call = { ...value, u: { dev: XEN_DOMCTL_DEV.PCI, flags: 0, machine_sbdf: sbdf } }
    return this.#kernel.hypercalls.callDirect('domctl', domctl_assign_device, call)
  }

  #plain(cmd: number, domid: number): number {
    const value = { ...xen_domctl.zero(), ...ENVELOPE, cmd, domain: domid }
    return this.#kernel.hypercalls.callDirect('domctl', xen_domctl, value)
  }
}
