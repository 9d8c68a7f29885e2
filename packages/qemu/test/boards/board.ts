/** One shape for QEMU's board and ours, so that a test runs on the other by changing one word. */
import type { DriverPort } from '@iospace/iommu/driver'
import type { ConfigPort, EduDriver, MmioPort, QemuMemory, TablePages } from '../../src/index.ts'

/** RAM by physical address, as `QemuMemory` has it. */
export type BoardMemory = Pick<
  QemuMemory,
  'bytes' | 'read' | 'write' | 'fill' | 'readU32' | 'writeU32' | 'readU64' | 'writeU64'
>

export interface Board extends Disposable {
  readonly name: BoardName
  readonly memory: BoardMemory
  readonly mmio: MmioPort
  readonly pci: ConfigPort
  /** What its IOMMU is, and the physical address of the registers. */
  readonly kind: 'vtd' | 'amdvi'
  readonly unit: number
  /** The edu device of each of {@link EDU_FUNCTIONS}. */
  readonly devices: ReadonlyMap<number, EduDriver>
  driverPort(pages: TablePages): DriverPort
  /** Interrupts of `vector` that the processor has taken. One that was sent may be taken a little later. */
  interrupts(vector: number): number
  /** Lets writes that are on their way arrive. */
  settle(): void
}

/** Whose board, and what its IOMMU is: `39` and `48` are VT-d units by their address bits, `Amd` an AMD-Vi unit. */
export type BoardName = `${'qemu' | 'ours'}${39 | 48 | 'Amd'}`

export const EDU_BAR = 0xe000_0000
/** Bus, device and function of the edu devices on every board: three on bus 0, one behind a root port at 00:05.0. */
export const EDU_FUNCTIONS = [0x18, 0x20, 0xc0, 0x100] as const
export const ROOT_PORT = 0x28
export const BOARD_MEBIBYTES = 64
/** Frame where the processor of QEMU's board counts interrupts. */
export const INTERRUPT_COUNTERS = 0x1f00
