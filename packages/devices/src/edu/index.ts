export { EDU_BOARD_BYTES, EDU_DMA_MASK, EduDevice, type EduOptions } from './edu-device.ts'
export * from './registers.ts'
