import { pad, struct, u16, u32, u64 } from '@iospace/wire'
import { physdev_pci_device } from '../physdev/pci-device.ts'

/** One range that firmware reserved for a device: first frame and frames. */
export const xen_reserved_device_memory = struct('xen_reserved_device_memory', { start_pfn: u64, nr_pages: u64 })

/** Flag of reserved_device_memory_map: the ranges of all devices. */
export const XENMEM_RDM_ALL = 1

/**
 * `reserved_device_memory_map`: buffer is a guest pointer to nr_entries ranges; nr_entries OUT the true count, `ERANGE`
 * when it did not fit. Control domain.
 */
export const xen_reserved_device_memory_map = struct('xen_reserved_device_memory_map', {
  flags: u32,
  nr_entries: u32,
  buffer: u64,
  dev: physdev_pci_device,
  pad0: pad(4),
})

/** `acquire_resource`: frame_list is a guest pointer to nr_frames u64 frames, OUT for PV and IN for HVM callers. */
export const xen_mem_acquire_resource = struct('xen_mem_acquire_resource', {
  domid: u16,
  type: u16,
  id: u32,
  nr_frames: u32,
  pad: pad(4),
  frame: u64,
  frame_list: u64,
})
