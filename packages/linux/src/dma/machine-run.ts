import { PAGE_SHIFT, PAGE_SIZE } from '@iospace/machine'
import type { PlatformMemory } from '../platform.ts'

/**
 * Machine frame of page `pfn` if the `length` bytes from `offset` in it on lie side by side in the machine; −1 when a page is
 * missing or the next page's frame is not the next frame (Linux: range_straddles_page_boundary).
 */
export function machineRun(memory: PlatformMemory, pfn: number, offset: number, length: number): number {
  const first = memory.machineFrame(pfn)
  if (first < 0 || offset + length <= PAGE_SIZE) return first
  const pages = (offset + length + PAGE_SIZE - 1) >> PAGE_SHIFT
  for (let i = 1; i < pages; i++) if (memory.machineFrame(pfn + i) !== first + i) return -1
  return first
}
