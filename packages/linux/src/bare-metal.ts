/**
 * A platform without a hypervisor: the kernel owns the board. Page numbers are machine frame numbers; interrupts come from the board's
 * controller and are delivered between tasks, as they are in a domain.
 */
import { Count, HIGH_RAM_FRAME, INTERRUPT_WINDOW, type Machine, type TaskGroup } from '@iospace/machine'
import type { Platform, PlatformInterrupts, PlatformMemory } from './platform.ts'

const FIRST_VECTOR = 0x30
const LAST_VECTOR = 0xef

/** The platform of a kernel that runs on `machine` itself, with its tasks in `tasks`. */
export function bareMetal(machine: Machine, tasks: TaskGroup): Platform {
  const { memory, pci, mmio, clock, scheduler } = machine
  const platformMemory: PlatformMemory = {
    pages: memory.highFrames > 0 ? HIGH_RAM_FRAME + memory.highFrames : memory.lowFrames,
    bytes: memory.bytes,
    words: memory.words,
    doubles: memory.doubles,
    view: memory.view,
    frameOffset: (pfn) => memory.frameOffset(pfn),
    machineFrame: (pfn) => (memory.frameIndex(pfn) < 0 ? -1 : pfn),
    copy: memory.copy,
    fill: memory.fill,
  }
  return {
    name: tasks.name,
    tasks,
    memory: platformMemory,
    hypercall: null,
    interrupts: vectors(machine, tasks),
    read32: (address) => {
      scheduler.enter()
      return mmio.read32(address)
    },
    write32: (address, value) => {
      scheduler.enter()
      mmio.write32(address, value)
    },
    configRead: (sbdf, offset, size) => pci.configRead(sbdf, offset, size),
    configWrite: (sbdf, offset, size, value) => pci.configWrite(sbdf, offset, size, value),
    devices: () => pci.functions().map(({ bdf }) => bdf),
    onUpcall: () => {},
    now: () => clock.now,
    charge: (kind, times) => clock.charge(kind, times),
    relax: () => {
      scheduler.enter()
      clock.charge(Count.relax)
    },
  }
}

function vectors({ interrupts }: Machine, tasks: TaskGroup): PlatformInterrupts {
  const used = new Set<number>()
  return {
    connect: (handler) => {
      let vector = FIRST_VECTOR
      while (used.has(vector)) vector++
      if (vector > LAST_VECTOR) return null
      used.add(vector)
      interrupts.handle(vector, () => tasks.interrupt(handler))
      return { address: INTERRUPT_WINDOW * 2 ** 20, data: vector }
    },
    disconnect: ({ data }) => {
      interrupts.handle(data, null)
      used.delete(data)
    },
  }
}
