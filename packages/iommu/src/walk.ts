/** The one table walk of each IOMMU. */
export { MachineTables, type TableMemory } from './table-memory.ts'
export { Need, PASS_THROUGH, VtdWalk, type WalkObserver } from './vtd/walk.ts'
export { AmdviNeed, AmdviWalk, type AmdviWalkObserver, PASS_CHECKED, PASS_UNCHECKED } from './amdvi/walk.ts'
