import type { Struct } from '@iospace/wire'
import { ATTACH_DEVICE_FLAGS, iommu_attach_device } from './attach-device.ts'
import { CREATE_SPACE_FLAGS, iommu_create_space } from './create-space.ts'
import { DESTROY_SPACE_FLAGS, iommu_destroy_space } from './destroy-space.ts'
import { DETACH_DEVICE_FLAGS, iommu_detach_device } from './detach-device.ts'
import { FLUSH_FLAGS, iommu_flush } from './flush.ts'
import { LOOKUP_FLAGS, iommu_lookup } from './lookup.ts'
import { MAP_GRANT_FLAGS, iommu_map_grant, iommu_map_grant_element } from './map-grant.ts'
import { MAP_FLAGS, iommu_map, iommu_map_element } from './map.ts'
import { NAME_DEVICE_FLAGS, iommu_name_device } from './name-device.ts'
import { IOMMU_OP, type IommuOpName } from './numbers.ts'
import { QUERY_DEVICE_FLAGS, iommu_query_device } from './query-device.ts'
import { QUERY_FLAGS, iommu_query } from './query.ts'
import { IOMMU_RIGHTS, type Rights } from './rights.ts'
import { SET_DEFAULT_FLAGS, iommu_set_default } from './set-default.ts'
import { SET_FAULT_RING_FLAGS, iommu_set_fault_ring } from './set-fault-ring.ts'
import { SET_LIMITS_FLAGS, iommu_set_limits } from './set-limits.ts'
import { UNMAP_GRANT_FLAGS, iommu_unmap_grant, iommu_unmap_grant_element } from './unmap-grant.ts'
import { UNMAP_FLAGS, iommu_unmap, iommu_unmap_element } from './unmap.ts'

/** A sub-op as data: what a dispatcher, a table in the docs and a test need to know of it. */
export interface IommuSubop {
  readonly name: IommuOpName
  readonly number: number
  readonly rights: Rights
  /** The argument; its size is the version 1 size. */
  readonly struct: Struct
  /** The element of its list, if it has one. */
  readonly element: Struct | undefined
  /** Bytes of a list element, 0 without a list. */
  readonly elementSize: number
  readonly flags: Readonly<Record<string, number>>
  /** Every flag that it knows. */
  readonly knownFlags: number
}

const subop = (
  name: IommuOpName,
  struct: Struct,
  flags: Readonly<Record<string, number>>,
  element?: Struct,
  elementSize = element?.size ?? 0,
): IommuSubop =>
  Object.freeze({
    name,
    number: IOMMU_OP[name],
    rights: IOMMU_RIGHTS[name],
    struct,
    element,
    elementSize,
    flags,
    knownFlags: Object.values(flags).reduce((known, flag) => known | flag, 0),
  })

/** The sub-ops whose structs are defined, by number. Those without an entry answer `EOPNOTSUPP`. */
export const IOMMU_SUBOPS: readonly IommuSubop[] = Object.freeze([
  subop('query', iommu_query, QUERY_FLAGS),
  subop('query_device', iommu_query_device, QUERY_DEVICE_FLAGS),
  subop('create_space', iommu_create_space, CREATE_SPACE_FLAGS),
  subop('destroy_space', iommu_destroy_space, DESTROY_SPACE_FLAGS),
  subop('attach_device', iommu_attach_device, ATTACH_DEVICE_FLAGS),
  subop('detach_device', iommu_detach_device, DETACH_DEVICE_FLAGS),
  subop('map', iommu_map, MAP_FLAGS, iommu_map_element),
  subop('unmap', iommu_unmap, UNMAP_FLAGS, iommu_unmap_element),
  subop('flush', iommu_flush, FLUSH_FLAGS),
  subop('map_grant', iommu_map_grant, MAP_GRANT_FLAGS, iommu_map_grant_element),
  subop('unmap_grant', iommu_unmap_grant, UNMAP_GRANT_FLAGS, iommu_unmap_grant_element),
  subop('lookup', iommu_lookup, LOOKUP_FLAGS),
  subop('set_fault_ring', iommu_set_fault_ring, SET_FAULT_RING_FLAGS, undefined, 8),
  subop('set_limits', iommu_set_limits, SET_LIMITS_FLAGS),
  subop('name_device', iommu_name_device, NAME_DEVICE_FLAGS),
  subop('set_default', iommu_set_default, SET_DEFAULT_FLAGS),
])
