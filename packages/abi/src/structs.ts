import { isStruct, type Struct } from '@iospace/wire'
import * as domctl from './domctl/index.ts'
import * as eventChannel from './event-channel/index.ts'
import * as grantTable from './grant-table/index.ts'
import * as io from './io/index.ts'
import * as iommuOp from './iommu-op/index.ts'
import * as memoryOp from './memory-op/index.ts'
import * as mmuextOp from './mmuext-op.ts'
import * as physdev from './physdev/index.ts'
import * as schedOp from './sched-op.ts'
import * as sharedInfo from './shared-info.ts'
import * as startInfo from './start-info.ts'
import * as xenVersion from './xen-version.ts'

const structsOf = (module: object): readonly Struct[] => Object.freeze(Object.values(module).filter(isStruct))

/** Every struct of the ABI by family, for dumps, tables and tests. Inside a family in order of their names. */
export const STRUCT_FAMILIES = Object.freeze({
  memory_op: structsOf(memoryOp),
  grant_table_op: structsOf(grantTable),
  event_channel_op: structsOf(eventChannel),
  mmuext_op: structsOf(mmuextOp),
  physdev_op: structsOf(physdev),
  domctl: structsOf(domctl),
  sched_op: structsOf(schedOp),
  xen_version: structsOf(xenVersion),
  shared_info: structsOf(sharedInfo),
  start_info: structsOf(startInfo),
  iommu_op: structsOf(iommuOp),
  io: structsOf(io),
})

/** Every struct of the ABI. */
export const STRUCTS: readonly Struct[] = Object.freeze(Object.values(STRUCT_FAMILIES).flat())

const byName = new Map(STRUCTS.map((struct) => [struct.name, struct]))

/** The struct with a C name. */
export function structNamed(name: string): Struct | undefined {
  return byName.get(name)
}
