/** The list sub-ops of iommu_op from a test guest: elements are written to its list page, the struct to its argument page. */
import {
  IOMMU_OP,
  iommu_map,
  iommu_map_element,
  iommu_map_grant,
  iommu_map_grant_element,
  iommu_unmap,
  iommu_unmap_element,
  iommu_unmap_grant,
  iommu_unmap_grant_element,
} from '@iospace/abi'
import type { Fields, Struct, ValueOf } from '@iospace/wire'
import { iommuOp } from './builder.ts'
import type { Guest } from './rig.ts'

export type MapElement = ValueOf<typeof iommu_map_element.fields>
export type GrantElement = ValueOf<typeof iommu_map_grant_element.fields>

interface Options {
  readonly flags?: number
  readonly domid?: number
}

function run<F extends Fields, S extends Fields>(
  guest: Guest,
  op: number,
  struct: Struct<S>,
  element: Struct<F>,
  space: number,
  list: readonly Partial<ValueOf<F>>[],
  options: Options,
) {
  list.forEach((value, i) => guest.put(element, { ...element.zero(), ...value }, guest.list + i * element.size))
  const value = { space, list: { array: BigInt(guest.list), count: list.length, stride: element.size }, ...options }
  const { rc, out } = iommuOp(guest, op, struct, value as unknown as Partial<ValueOf<S>>)
  return {
    rc,
    out: out as ValueOf<S> & { done: number },
    elements: list.map((_, i) => guest.get(element, guest.list + i * element.size)),
  }
}

export function mapList(guest: Guest, space: number, list: readonly Partial<MapElement>[], options: Options = {}) {
  const { rc, out, elements } = run(guest, IOMMU_OP.map, iommu_map, iommu_map_element, space, list, options)
  return { rc, done: out.done, elements }
}

export function unmapList(
  guest: Guest,
  space: number,
  list: readonly { readonly io_address: bigint; readonly pages: bigint }[],
  options: Options = {},
) {
  const { rc, out, elements } = run(guest, IOMMU_OP.unmap, iommu_unmap, iommu_unmap_element, space, list, options)
  return { rc, done: out.done, ticket: out.ticket, elements }
}

export function mapGrants(guest: Guest, space: number, list: readonly Partial<GrantElement>[], options: Options = {}) {
  const { rc, out, elements } = run(
    guest,
    IOMMU_OP.map_grant,
    iommu_map_grant,
    iommu_map_grant_element,
    space,
    list,
    options,
  )
  return { rc, done: out.done, elements }
}

export function unmapGrants(guest: Guest, space: number, handles: readonly number[], options: Options = {}) {
  const list = handles.map((handle) => ({ handle }))
  const { rc, out, elements } = run(
    guest,
    IOMMU_OP.unmap_grant,
    iommu_unmap_grant,
    iommu_unmap_grant_element,
    space,
    list,
    options,
  )
  return { rc, done: out.done, ticket: out.ticket, elements }
}

/** A map element of one page of the guest's own. */
export const page = (guest: Guest, pfn: number, value: Partial<MapElement> = {}): Partial<MapElement> => ({
  gfn: BigInt(guest.mfn(pfn)),
  pages: 1n,
  access: 3,
  ...value,
})
