/** The facts of each IOMMU: offsets, masks, formats. No behaviour. */
export * as vtd from './vtd/spec/index.ts'
export * as amdvi from './amdvi/spec/index.ts'
export * as gart from './gart/spec/index.ts'
export * as calgary from './calgary/spec/index.ts'
