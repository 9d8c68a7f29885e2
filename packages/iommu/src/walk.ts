/** The one table walk of each IOMMU. */
export { MachineTables, type TableMemory } from './table-memory.ts'
export { Need, PASS_THROUGH, VtdWalk, type WalkObserver } from './vtd/walk.ts'
export { AmdviNeed, AmdviWalk, type AmdviWalkObserver, PASS_CHECKED, PASS_UNCHECKED } from './amdvi/walk.ts'
export { inInterruptRange } from './amdvi/addresses.ts'
export { GART_RIGHTS, GartWalk, type GartWalkObserver } from './gart/walk.ts'
export { CalgaryNeed, CalgaryWalk, type CalgaryWalkObserver, UNTRANSLATED } from './calgary/walk.ts'
