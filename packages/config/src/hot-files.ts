/**
 * The files on the path of every DMA access, mapping or hypercall: no `BigInt` and no `Map` there. A 64-bit value in
 * them is two words or a frame number and an offset; a table is a typed array.
 */
export const HOT_FILES: readonly string[] = [
  'packages/machine/src/memory.ts',
  'packages/machine/src/pci/dma.ts',
  'packages/machine/src/clock.ts',
]
