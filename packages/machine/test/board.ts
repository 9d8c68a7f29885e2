import { setImmediate } from 'node:timers'
import {
  Command,
  Config,
  type FunctionSpec,
  Machine,
  type MachineOptions,
  type MmioDevice,
  PciFunction,
} from '../src/index.ts'

/** One macrotask of the host. */
export const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

/** A small machine: 16 frames below the hole, 16 above it. */
export const board = (options: Partial<MachineOptions> = {}): Machine =>
  new Machine({ memory: { lowFrames: 16, highFrames: 16, boardBytes: 1 << 20 }, seed: 1, turn, ...options })

/** Registers that remember what was written. */
export class Scratch implements MmioDevice {
  readonly words = new Map<number, number>()
  read32(offset: number): number {
    return this.words.get(offset) ?? 0
  }
  write32(offset: number, value: number): void {
    this.words.set(offset, value)
  }
}

/** A PCI function whose driver is the test: it moves what it is told to move. */
export class Probe extends PciFunction {
  readonly registers: Scratch
  resets = 0

  constructor(spec: Partial<FunctionSpec> = {}) {
    const registers = new Scratch()
    super({
      vendorId: 0xf0f0,
      deviceId: 1,
      classCode: 0x088000,
      bars: [{ index: 0, bytes: 4096, wide: false, registers }],
      msi: true,
      express: { functionReset: true },
      ...spec,
    })
    this.registers = registers
  }

  protected override onReset(): void {
    this.resets++
    this.registers.words.clear()
  }
}

/** Sets command bits by a configuration write. */
export function enable(machine: Machine, bdf: number, bits: number = Command.memory | Command.busMaster): void {
  machine.pci.configWrite(bdf, Config.command, 2, bits)
}
