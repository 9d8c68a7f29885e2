/** A kernel on a bare machine: real board memory, no translation, no hypervisor. */
import { Machine } from '@iospace/machine'
import { bareMetal, bootKernel, type Kernel, type Platform, type PlatformMemory } from '../../src/index.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export interface Bare {
  readonly machine: Machine
  readonly kernel: Kernel
  /** Runs `body` as a task to its end, and everything it waits for. */
  run(body: () => Promise<void>): Promise<void>
}

export interface BareOptions {
  readonly lowFrames?: number
  readonly highFrames?: number
  readonly commandLine?: string
  /** Shuffles page numbers over the frames, as a hypervisor does. */
  readonly scattered?: boolean
}

export function bootBare(options: BareOptions = {}): Bare {
  const { lowFrames = 2048, highFrames = 0, commandLine = '', scattered = false } = options
  const machine = new Machine({ memory: { lowFrames, highFrames, boardBytes: 1 << 20 }, seed: 1, turn })
  const crashes: unknown[] = []
  const tasks = machine.scheduler.group('bare', (error) => crashes.push(error))
  const metal = bareMetal(machine, tasks)
  const platform: Platform = scattered ? { ...metal, memory: scatter(machine, metal.memory) } : metal
  const kernel = bootKernel(platform, { commandLine, pages: platform.memory.pages })
  const run = async (body: () => Promise<void>): Promise<void> => {
    kernel.spawn('test', body)
    const outcome = await machine.scheduler.run()
    if (crashes.length > 0) throw crashes[0]
    if (outcome.kind !== 'finished') throw new Error(JSON.stringify(outcome))
  }
  return { machine, kernel, run }
}

/** A seeded permutation of page numbers over all frames of RAM. */
function scatter(machine: Machine, memory: PlatformMemory): PlatformMemory {
  const frames = Int32Array.from({ length: machine.memory.frames }, (_, i) => machine.memory.frameAt(i))
  machine.random.shuffle(frames)
  const frame = (pfn: number): number => frames[pfn] ?? -1
  return {
    ...memory,
    pages: frames.length,
    frameOffset: (pfn) => machine.memory.frameOffset(frame(pfn)),
    machineFrame: frame,
  }
}
