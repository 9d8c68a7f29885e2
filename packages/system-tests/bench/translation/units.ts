/** The units that are measured. */
import { vtdPersonalities } from '@iospace/iommu/hardware'

const BASE = vtdPersonalities['sandybridge-ep']
/** The shape of the C program's IOTLB. */
export const DIRECT = { ...BASE, iotlb: { sets: 1024, ways: 1 } }
/** Every request walks all levels. */
export const UNCACHED = { ...BASE, iotlb: { sets: 4, ways: 0 }, directories: { sets: 4, ways: 0 } }
