/** Names of hypercalls and their sub-ops, by number, from the ABI's own tables. */
import {
  CONSOLEIO,
  EVTCHNOP,
  GNTTABOP,
  HYPERCALL,
  IOMMU_OP,
  PHYSDEVOP,
  SCHEDOP,
  XENMEM,
  XENVER,
  XEN_DOMCTL,
} from '@iospace/abi'

function byNumber(table: Readonly<Record<string, number>>): readonly (string | undefined)[] {
  const names: (string | undefined)[] = []
  for (const [name, number] of Object.entries(table)) names[number] = name
  return names
}

const FAMILIES: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  memory_op: XENMEM,
  xen_version: XENVER,
  console_io: CONSOLEIO,
  grant_table_op: GNTTABOP,
  sched_op: SCHEDOP,
  event_channel_op: EVTCHNOP,
  physdev_op: PHYSDEVOP,
  domctl: XEN_DOMCTL,
  iommu_op: IOMMU_OP,
}

/** Family name and sub-op names (null: it has none) by hypercall number. */
export const SUBOP_NAMES: readonly (
  | { readonly name: string; readonly subops: readonly (string | undefined)[] | null }
  | undefined
)[] = (() => {
  const result: { name: string; subops: readonly (string | undefined)[] | null }[] = []
  for (const [name, number] of Object.entries(HYPERCALL)) {
    const table = FAMILIES[name]
    result[number] = { name, subops: table === undefined ? null : byNumber(table) }
  }
  return result
})()
