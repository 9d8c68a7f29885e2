export { NVME_BOARD_BYTES, NvmeController, type NvmeCounters, type NvmeOptions } from './controller.ts'
export type { DmaBooks } from './dma.ts'
export { earlyFlash, type NvmeLatency } from './latency.ts'
