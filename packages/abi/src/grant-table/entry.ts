import { struct, u16, u32 } from '@iospace/wire'

/**
 * A grant entry, version 1: how one domain lets another use a frame. In memory that granter and hypervisor share.
 *
 * Granting: (1) the granter writes domid and frame; (2) write barrier; (3) it writes flags with the type. Using: (4)
 * the hypervisor sets `reading`, and `writing` for write access, by compare-exchange on the first word, so that the
 * check and the mark are one event; (5) it clears them when the last use ends. Revoking: (6) the granter
 * compare-exchanges flags to 0 while neither bit is set.
 */
export const grant_entry_v1 = struct('grant_entry_v1', { flags: u16, domid: u16, frame: u32 })

/** Flags of a grant entry. Type in bits 1–0; 2 and 5–8 are the granter's, 3 and 4 the hypervisor's. */
export const GTF = Object.freeze({
  type_mask: 3,
  invalid: 0,
  permit_access: 1,
  accept_transfer: 2,
  transitive: 3,
  readonly: 1 << 2,
  reading: 1 << 3,
  writing: 1 << 4,
  PWT: 1 << 5,
  PCD: 1 << 6,
  PAT: 1 << 7,
  sub_page: 1 << 8,
  transfer_committed: 1 << 2,
  transfer_completed: 1 << 3,
})

/** References that the domain builder fills in: these and the other references below 8 survive a change of version. */
export const GNTTAB_RESERVED = Object.freeze({ CONSOLE: 0, XENSTORE: 1 })
/** The number of reserved references. */
export const GNTTAB_NR_RESERVED_ENTRIES = 8

/** Version 1 entries in a 4 KiB grant frame. */
export const GRANT_ENTRIES_PER_FRAME = 512
