import type { Struct, Value } from '@iospace/wire'
import { expectTypeOf } from 'vitest'
import {
  type BlkifProtocol,
  type Errno,
  GNTST,
  domctl_createdomain,
  iommu_map,
  type iommu_map_element,
  type gnttab_copy,
} from '../src/index.ts'

// What a driver writes: plain fields, 64-bit ones bigint, padding absent, lists nested.
expectTypeOf<Value<typeof iommu_map>>().toEqualTypeOf<{
  size: number
  flags: number
  domid: number
  space: number
  done: number
  list: { array: bigint; count: number; stride: number }
}>()
expectTypeOf<Value<typeof iommu_map_element>['gfn']>().toEqualTypeOf<bigint>()
expectTypeOf<Value<typeof gnttab_copy>['source']>().toEqualTypeOf<{ u: bigint; domid: number; offset: number }>()

// A whole domctl keeps the type of its payload.
expectTypeOf<Value<typeof domctl_createdomain>['u']['max_vcpus']>().toEqualTypeOf<number>()
expectTypeOf(domctl_createdomain.offsets['u.max_vcpus']).toEqualTypeOf<number>()

// Hot code gets its indices by name, and a wrong name does not compile.
expectTypeOf(iommu_map.words['list.count']).toEqualTypeOf<number>()
// @ts-expect-error no such field
void iommu_map.words['list.size']

// Constants are literal types.
expectTypeOf(GNTST.no_device_space).toEqualTypeOf<-7>()
expectTypeOf<(typeof Errno)['EINVAL']>().toEqualTypeOf<22>()
expectTypeOf<BlkifProtocol>().toEqualTypeOf<'x86_64-abi' | 'x86_32-abi'>()
expectTypeOf<typeof iommu_map>().toExtend<Struct>()
