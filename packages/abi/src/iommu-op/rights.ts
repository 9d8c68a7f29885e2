import type { IommuOpName } from './numbers.ts'

/**
 * Who calls, seen from the domain that the call is about: that domain itself; the control domain about any domain,
 * itself included; any other. A caller that is several of these has the rights of each.
 */
export type CallerKind = 'self' | 'control' | 'other'

/** What each caller kind may do. */
export type Rights = Readonly<Record<CallerKind, boolean>>

const BOTH: Rights = Object.freeze({ self: true, control: true, other: false })
const SELF: Rights = Object.freeze({ self: true, control: false, other: false })
const CONTROL: Rights = Object.freeze({ self: false, control: true, other: false })

/**
 * Rights by sub-op: the one check, made after copy-in and before any look-up. A caller without the right gets `EPERM`,
 * whether or not the domain exists.
 */
export const IOMMU_RIGHTS: Readonly<Record<IommuOpName, Rights>> = Object.freeze({
  query: BOTH,
  query_device: BOTH,
  query_ranges: BOTH,
  create_space: BOTH,
  destroy_space: BOTH,
  attach_device: BOTH,
  detach_device: BOTH,
  map: BOTH,
  unmap: BOTH,
  flush: BOTH,
  map_grant: BOTH,
  unmap_grant: BOTH,
  revoke_grant: BOTH,
  lookup: BOTH,
  // The ring's frames and its event are the reader's own.
  set_fault_ring: SELF,
  dirty_start: BOTH,
  dirty_read: BOTH,
  dirty_stop: BOTH,
  save_space: BOTH,
  restore_space: BOTH,
  set_limits: CONTROL,
  name_device: CONTROL,
  // A promise that a domain makes about itself.
  set_default: SELF,
})
