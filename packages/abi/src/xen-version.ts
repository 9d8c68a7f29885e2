import { array, struct, u32, u64 } from '@iospace/wire'

/**
 * Sub-operations of `xen_version`. `version` returns major << 16 | minor; the others fill a struct. Source:
 * xen/include/public/version.h.
 */
export const XENVER = Object.freeze({
  version: 0,
  extraversion: 1,
  compile_info: 2,
  capabilities: 3,
  changeset: 4,
  platform_parameters: 5,
  get_features: 6,
  pagesize: 7,
  guest_handle: 8,
  commandline: 9,
  build_id: 10,
})

/** The version whose ABI this is: 4.17. */
export const XEN_VERSION = 0x0004_0011

/** Feature bits of submap 0. Source: xen/include/public/features.h. */
export const XENFEAT = Object.freeze({
  writable_page_tables: 0,
  writable_descriptor_tables: 1,
  /** The domain's frames are a contiguous numbering of its own (HVM). */
  auto_translated_physmap: 2,
  supervisor_mode_kernel: 3,
  pae_pgdir_above_4gb: 4,
  mmu_pt_update_preserve_ad: 5,
  highmem_assist: 6,
  gnttab_map_avail_bits: 7,
  hvm_callback_vector: 8,
  hvm_safe_pvclock: 9,
  hvm_pirqs: 10,
  /** The caller is the control domain. */
  dom0: 11,
  memory_op_vnode_supported: 13,
  ARM_SMCCC_supported: 14,
  linux_rsdp_unrestricted: 15,
  /** A guest address is not the bus address. */
  not_direct_mapped: 16,
  /** A guest address is the bus address. */
  direct_mapped: 17,
})

/** `XENVER_get_features`: submap_idx IN, submap OUT (a bit per feature). */
export const xen_feature_info = struct('xen_feature_info', { submap_idx: u32, submap: u32 })

/** `XENVER_platform_parameters`: where the hypervisor's part of the address space starts, OUT. */
export const xen_platform_parameters = struct('xen_platform_parameters', { virt_start: u64 })

/**
 * One call of `multicall(array, count)`: op and args IN, result OUT. Five arguments are honoured, the sixth is padding.
 */
export const multicall_entry = struct('multicall_entry', { op: u64, result: u64, args: array(u64, 6) })
