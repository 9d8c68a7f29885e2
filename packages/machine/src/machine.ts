/** The board: every part wired to one clock and one seed. */
import { Clock } from './clock.ts'
import type { CostPreset } from './costs.ts'
import { InterruptController } from './interrupts.ts'
import { MachineMemory, type MemoryOptions } from './memory.ts'
import { MmioBus } from './mmio.ts'
import { NoTranslation } from './pci/dma.ts'
import { PciRoot } from './pci/root.ts'
import { Random } from './random.ts'
import { Scheduler } from './scheduler.ts'
import type { TraceSink } from './trace.ts'

export interface MachineOptions {
  readonly memory: MemoryOptions
  readonly seed: number
  /** One macrotask of the host: see {@link Scheduler}. */
  readonly turn: () => Promise<void>
  readonly costs?: CostPreset
  readonly timeLimit?: number
  readonly hangLimit?: number
}

export class Machine {
  declare readonly seed: number
  declare readonly clock: Clock
  declare readonly random: Random
  declare readonly memory: MachineMemory
  declare readonly mmio: MmioBus
  declare readonly interrupts: InterruptController
  declare readonly pci: PciRoot
  declare readonly scheduler: Scheduler
  #trace: TraceSink | null = null

  constructor({ memory, seed, turn, costs, timeLimit, hangLimit }: MachineOptions) {
    this.seed = seed
    this.clock = new Clock(costs)
    this.random = new Random(seed)
    this.memory = new MachineMemory(memory)
    this.mmio = new MmioBus(this.clock)
    this.interrupts = new InterruptController(this.clock)
    this.pci = new PciRoot(this.clock, this.memory, this.mmio, new NoTranslation(this.memory, this.interrupts))
    this.scheduler = new Scheduler({
      clock: this.clock,
      random: this.random.fork(),
      turn,
      ...(timeLimit === undefined ? {} : { timeLimit }),
      ...(hangLimit === undefined ? {} : { hangLimit }),
    })
  }

  /** The sink of trace events; null (the default) when nobody listens. */
  get trace(): TraceSink | null {
    return this.#trace
  }

  set trace(sink: TraceSink | null) {
    this.#trace = sink
    this.pci.trace = sink
  }
}
