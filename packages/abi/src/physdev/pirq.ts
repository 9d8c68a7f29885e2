import { i32, pad, struct, u16, u32, u64 } from '@iospace/wire'

/**
 * `map_pirq`: gives domid a pirq for a device's interrupt. IN domid, type, index (−1: any), pirq (−1: any), bus
 * (segment << 16 | bus for MSI_SEG), devfn, entry_nr (MSI-X entry, or count for MULTI_MSI), table_base (MSI-X table, 0
 * for MSI); OUT pirq, and index for MSI.
 */
export const physdev_map_pirq = struct('physdev_map_pirq', {
  domid: u16,
  pad0: pad(2),
  type: i32,
  index: i32,
  pirq: i32,
  bus: i32,
  devfn: i32,
  entry_nr: i32,
  pad1: pad(4),
  table_base: u64,
})

/** `unmap_pirq`: all IN. */
export const physdev_unmap_pirq = struct('physdev_unmap_pirq', { domid: u16, pad0: pad(2), pirq: i32 })

/** `eoi`: IN irq, a pirq of the caller. */
export const physdev_eoi = struct('physdev_eoi', { irq: u32 })

/** `irq_status_query`: IN irq, OUT flags (4: wants an eoi). */
export const physdev_irq_status_query = struct('physdev_irq_status_query', { irq: u32, flags: u32 })

/** `get_free_pirq`: IN type, OUT pirq. */
export const physdev_get_free_pirq = struct('physdev_get_free_pirq', { type: i32, pirq: u32 })
