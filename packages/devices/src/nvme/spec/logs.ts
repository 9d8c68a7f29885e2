/** Log pages (NVMe 1.4 section 5.14.1): the three that every controller has. */
import { array, bytes, pad, struct, u16, u32, u64, u8 } from '@iospace/wire'

export const LogPage = { errorInformation: 1, health: 2, firmwareSlot: 3 } as const

/** Error Information entry, newest first (figure 194). */
export const errorLogEntry = struct('nvme_error_log_entry', {
  /** Running number from 1; 0 for an entry that does not exist. */
  error_count: u64,
  sqid: u16,
  cmdid: u16,
  /** As in the completion: phase in bit 0, status in 15:1. */
  status_field: u16,
  parm_error_location: u16,
  lba: u64,
  nsid: u32,
  vs: u8,
  trtype: u8,
  rsvd30: pad(2),
  cs: u64,
  rsvd40: pad(24),
})

/** SMART / Health Information (figure 196). The counters are 128 bits wide. */
export const healthLog = struct('nvme_smart_log', {
  critical_warning: u8,
  /** Kelvins; at byte 1, so not aligned. */
  temperature_low: u8,
  temperature_high: u8,
  avail_spare: u8,
  spare_thresh: u8,
  percent_used: u8,
  rsvd6: pad(26),
  /** Thousands of 512-byte units, rounded up. */
  data_units_read: array(u64, 2),
  data_units_written: array(u64, 2),
  host_reads: array(u64, 2),
  host_writes: array(u64, 2),
  rsvd96: pad(64),
  media_errors: array(u64, 2),
  num_err_log_entries: array(u64, 2),
  rsvd192: pad(320),
})

/** Firmware Slot Information (figure 197). */
export const firmwareLog = struct('nvme_firmware_slot', {
  afi: u8,
  rsvd1: pad(7),
  frs1: bytes(8),
  rsvd16: pad(496),
})
