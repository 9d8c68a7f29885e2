import { array, i8, pad, struct, u32, u64, u8 } from '@iospace/wire'

/**
 * Time of a vCPU: system time in ns at a tsc value, and how to extrapolate. version is odd while the hypervisor writes.
 * All by the hypervisor.
 */
export const vcpu_time_info = struct('vcpu_time_info', {
  version: u32,
  pad0: pad(4),
  tsc_timestamp: u64,
  system_time: u64,
  tsc_to_system_mul: u32,
  tsc_shift: i8,
  flags: u8,
  pad1: pad(2),
})

/** The x86 part of vcpu_info. */
export const arch_vcpu_info = struct('arch_vcpu_info', { cr2: u64, pad: pad(8) })

/**
 * Event state of a vCPU. Delivery: (1) the hypervisor sets the port's pending bit; (2) unless the port is masked, the
 * bit of its word in evtchn_pending_sel; (3) evtchn_upcall_pending. Handling: (4) the guest clears upcall_pending; (5)
 * exchanges pending_sel with 0; (6) clears and handles each pending, unmasked bit of the words it found; (7) looks at
 * upcall_pending again.
 */
export const vcpu_info = struct('vcpu_info', {
  evtchn_upcall_pending: u8,
  evtchn_upcall_mask: u8,
  pad0: pad(6),
  evtchn_pending_sel: u64,
  arch: arch_vcpu_info,
  time: vcpu_time_info,
})

/** The x86 part of shared_info: where a PV domain keeps its p2m. */
export const arch_shared_info = struct('arch_shared_info', {
  max_pfn: u64,
  pfn_to_mfn_frame_list_list: u64,
  nmi_reason: u64,
  p2m_cr3: u64,
  p2m_vaddr: u64,
  p2m_generation: u64,
})

/** vCPUs whose vcpu_info lies in the shared page. */
export const XEN_LEGACY_MAX_VCPUS = 32

/** The page that a domain shares with the hypervisor. Source: xen/include/public/xen.h. */
export const shared_info = struct('shared_info', {
  vcpu_info: array(vcpu_info, XEN_LEGACY_MAX_VCPUS),
  evtchn_pending: array(u64, 64),
  evtchn_mask: array(u64, 64),
  wc_version: u32,
  wc_sec: u32,
  wc_nsec: u32,
  wc_sec_hi: u32,
  arch: arch_shared_info,
})
