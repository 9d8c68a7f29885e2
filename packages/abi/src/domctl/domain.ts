import { bytes, i32, pad, struct, u16, u32, u64, u8 } from '@iospace/wire'

/** The x86 part of createdomain: which devices Xen emulates, and quirks. */
export const xen_arch_domainconfig = struct('xen_arch_domainconfig', { emulation_flags: u32, misc_flags: u32 })

/**
 * `createdomain`: IN all; the new id comes back in the envelope. handle is a UUID; max_grant_frames < 0 is the default.
 */
export const xen_domctl_createdomain = struct('xen_domctl_createdomain', {
  ssidref: u32,
  handle: bytes(16),
  flags: u32,
  iommu_opts: u32,
  max_vcpus: u32,
  max_evtchn_port: u32,
  max_grant_frames: i32,
  max_maptrack_frames: i32,
  grant_opts: u32,
  vmtrace_size: u32,
  cpupool_id: u32,
  arch: xen_arch_domainconfig,
})

/** `getdomaininfo`: the first domain whose id is at least the envelope's; all OUT, counts in frames, cpu_time in ns. */
export const xen_domctl_getdomaininfo = struct('xen_domctl_getdomaininfo', {
  domain: u16,
  pad1: pad(2),
  flags: u32,
  tot_pages: u64,
  max_pages: u64,
  outstanding_pages: u64,
  shr_pages: u64,
  paged_pages: u64,
  shared_info_frame: u64,
  cpu_time: u64,
  nr_online_vcpus: u32,
  max_vcpu_id: u32,
  ssidref: u32,
  handle: bytes(16),
  cpupool: u32,
  gpaddr_bits: u8,
  pad2: pad(7),
  arch_config: xen_arch_domainconfig,
})

/** `max_mem`: the most memory the domain may have, KiB. IN. */
export const xen_domctl_max_mem = struct('xen_domctl_max_mem', { max_memkb: u64 })

/** `max_vcpus`: IN. */
export const xen_domctl_max_vcpus = struct('xen_domctl_max_vcpus', { max: u32 })

/** `iomem_permission`: whether the domain may map nr_mfns frames from first_mfn. IN. */
export const xen_domctl_iomem_permission = struct('xen_domctl_iomem_permission', {
  first_mfn: u64,
  nr_mfns: u64,
  allow_access: u8,
  pad0: pad(7),
})

/** `irq_permission`: whether the domain may use pirq (the caller's). IN. */
export const xen_domctl_irq_permission = struct('xen_domctl_irq_permission', {
  pirq: u32,
  allow_access: u8,
  pad: pad(3),
})
