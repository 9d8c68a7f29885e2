/** Which way data moves in a mapping (Linux enum dma_data_direction). */
export const Direction = {
  bidirectional: 0,
  toDevice: 1,
  fromDevice: 2,
  /** A debugging sentinel: never valid in a call. */
  none: 3,
} as const

/** What a mapping call answers instead of an address. Zero is an address like any other, so test with {@link isMappingError}. */
export const DMA_MAPPING_ERROR = -1

/** Whether `address` is what a failed mapping answered (dma_mapping_error). */
export const isMappingError = (address: number): boolean => address < 0

/** Whether the device may write: its data must come back to the CPU. */
export const writesMemory = (direction: number): boolean =>
  direction === Direction.fromDevice || direction === Direction.bidirectional

/** Whether the device may read. */
export const readsMemory = (direction: number): boolean =>
  direction === Direction.toDevice || direction === Direction.bidirectional
