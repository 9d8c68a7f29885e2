/** What the processor runs: nothing, so that QEMU's virtual clock can jump to whatever a device waits for. */

const BYTES = 0x10000
/** The first instruction is fetched 16 bytes below the end of the firmware (Intel SDM 3A, 9.1.4). */
const RESET_VECTOR = BYTES - 16
const CLI = 0xfa
const HLT = 0xf4
/** `jmp` back to the `hlt` before it. */
const JMP_BACK = [0xeb, 0xfd]

/** A firmware image that disables interrupts and halts, and halts again should anything wake it. */
export function haltFirmware(): Uint8Array {
  const image = new Uint8Array(BYTES).fill(HLT)
  image.set([CLI, HLT, ...JMP_BACK], RESET_VECTOR)
  return image
}
