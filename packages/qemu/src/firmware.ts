/**
 * What the processor runs: next to nothing, so that QEMU's virtual clock can jump to whatever a device waits for. It may count the
 * interrupts that reach it, in memory, where they can be seen. Encodings: Intel SDM 2 and 3A.
 */

const BYTES = 0x10000
/** The image ends at 4 GiB. */
const BASE = 0x1_0000_0000 - BYTES
/** The first instruction is fetched 16 bytes below the end (SDM 3A, 9.1.4). */
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

/** How many interrupt vectors there are. */
export const INTERRUPT_VECTORS = 256
/** Bytes of memory that {@link countingFirmware} uses: a 4-byte counter for each vector, then a stack. */
export const INTERRUPT_COUNTER_BYTES = 4096

/** Where things are in the image. */
const At = { start: 0xf000, protectedMode: 0xf100, common: 0xf200, gdt: 0xf300, idt: 0x8000, handlers: 0x9000 } as const
const HANDLER_BYTES = 16
/** Selectors of the flat code and data segments. */
const CODE = 0x08
const DATA = 0x10
/** Registers of the local APIC: end of interrupt, and spurious interrupts with the bit that switches it on (SDM 3A, 10.4.3, 10.8.5). */
const APIC_EOI = 0xfee0_00b0
const APIC_SPURIOUS = 0xfee0_00f0
const APIC_ENABLE = 0x1ff

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff]
const dword = (value: number): number[] => [...word(value), ...word(value >>> 16)]

/**
 * A firmware image that enters protected mode, switches the local APIC on, allows interrupts and halts. Each interrupt adds one to the
 * counter of its vector in the table at `counters` (zeroed memory of {@link INTERRUPT_COUNTER_BYTES}, below 4 GiB).
 */
export function countingFirmware(counters: number): Uint8Array {
  const image = new Uint8Array(BYTES).fill(HLT)
  const put = (at: number, ...instructions: readonly number[][]) => image.set(instructions.flat(), at)
  // jmp start; the instruction pointer is relative to the next instruction, and all of this is one 64 KiB segment.
  put(RESET_VECTOR, [0xe9, ...word(At.start - RESET_VECTOR - 3)])
  const gdtPointer = At.gdt + 24
  const idtPointer = At.gdt + 32
  put(
    At.start,
    // cli; o32 lgdt cs:[gdtPointer]; mov eax, cr0; or al, 1; mov cr0, eax; o32 jmp CODE:protectedMode
    [CLI, 0x66, 0x2e, 0x0f, 0x01, 0x16, ...word(gdtPointer)],
    [0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0],
    [0x66, 0xea, ...dword(BASE + At.protectedMode), ...word(CODE)],
  )
  put(
    At.protectedMode,
    // mov ax, DATA; mov ds, ax; mov es, ax; mov ss, ax; mov esp, end of the memory; lidt [idtPointer]
    [0x66, 0xb8, ...word(DATA), 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0],
    [0xbc, ...dword(counters + INTERRUPT_COUNTER_BYTES), 0x0f, 0x01, 0x1d, ...dword(BASE + idtPointer)],
    // mov dword [APIC_SPURIOUS], APIC_ENABLE; sti; hlt; jmp back
    [0xc7, 0x05, ...dword(APIC_SPURIOUS), ...dword(APIC_ENABLE), 0xfb, HLT, ...JMP_BACK],
  )
  put(
    At.common,
    // push eax; mov eax, [esp + 4]; inc dword [eax * 4 + counters]
    [0x50, 0x8b, 0x44, 0x24, 0x04, 0xff, 0x04, 0x85, ...dword(counters)],
    // mov dword [APIC_EOI], 0; pop eax; add esp, 4; iret
    [0xc7, 0x05, ...dword(APIC_EOI), ...dword(0), 0x58, 0x83, 0xc4, 0x04, 0xcf],
  )
  // Flat 4 GiB segments, marked accessed: the processor cannot write to this table.
  const segment = (type: number) => [...word(0xffff), ...word(0), 0, type, 0xcf, 0]
  put(At.gdt, dword(0), dword(0), segment(0x9b), segment(0x93))
  put(gdtPointer, word(23), dword(BASE + At.gdt))
  put(idtPointer, word(8 * INTERRUPT_VECTORS - 1), dword(BASE + At.idt))
  for (let vector = 0; vector < INTERRUPT_VECTORS; vector++) {
    const handler = At.handlers + vector * HANDLER_BYTES
    // An interrupt gate to: push vector; jmp common
    const gate = BASE + handler
    put(At.idt + 8 * vector, word(gate), word(CODE), [0, 0x8e], word(gate >>> 16))
    put(handler, [0x68, ...dword(vector), 0xe9, ...dword(At.common - handler - 10)])
  }
  return image
}
