/**
 * P14: garbage on the hot paths. What is measured is how far the heap grows in 10⁷ operations, in bytes; the baseline is the 64 KiB that
 * are allowed.
 */
import { Clock, Command, Config, Count, Machine, type MmioDevice, PciFunction } from '@iospace/machine'
import type { Benchmark, Goal, Session } from './harness/benchmark.ts'
import { wordTableLoop } from './p6-hypercall.ts'
import { PacketPath } from './packet/packet-path.ts'

const OPERATIONS = 1e7
const ALLOWED = 64 << 10
const SLICES = 20

interface Loop {
  readonly operations: number
  readonly run: () => void
}

/** charge, count, and an event that becomes due now and then. */
function clockLoop(): Loop {
  const clock = new Clock()
  const timer = clock.timer(() => timer.start(1000))
  timer.start(1000)
  const run = () => {
    for (let i = 0; i < 1000; i++) {
      clock.charge(Count.tableStore)
      clock.count(Count.iotlbHit)
    }
  }
  return { operations: 1000, run }
}

class Master extends PciFunction {
  constructor() {
    const nothing: MmioDevice = { read32: () => 0, write32: () => {} }
    const bars = [{ index: 0, bytes: 4096, wide: false, registers: nothing }]
    super({ vendorId: 0xf0f0, deviceId: 1, classCode: 0x088000, bars })
  }
  protected override onReset(): void {}
}

/** DMA of 1500 bytes over a page edge, through the PCI root, without an IOMMU. */
function dmaLoop(): Loop {
  const memory = { lowFrames: 64, highFrames: 64, boardBytes: 64 << 10 }
  const machine = new Machine({ memory, seed: 1, turn: () => Promise.resolve() })
  const device = new Master()
  machine.pci.add(0, 8, device)
  machine.pci.configWrite(8, Config.command, 2, Command.busMaster)
  const at = machine.memory.boardMemory(4096)
  const run = () => {
    for (let i = 0; i < 500; i++) {
      device.dmaWrite(1, 0x1c00 + i, at, 1500)
      device.dmaRead(0, 0x2c00, at, 64)
    }
  }
  return { operations: 1000, run }
}

/** The strict path of a packet (P8), or the same with granted pages, in batches of 16. */
function packetLoop(receive: 'receive' | 'receiveGranted'): Loop {
  const path = new PacketPath()
  return { operations: 256, run: () => path[receive](256, 16) }
}

const LOOPS: Readonly<Record<string, () => Loop>> = {
  'word tables': wordTableLoop,
  'clock and counters': clockLoop,
  'DMA without an IOMMU': dmaLoop,
  'strict path of a packet': () => packetLoop('receive'),
  'the same with granted pages': () => packetLoop('receiveGranted'),
}

const used = (): number => process.memoryUsage().heapUsed

/** How far the heap moves while `run` runs `calls` times, slice by slice: a collection in between is growth before it. */
function growth(run: () => void, calls: number): number {
  let sum = 0
  for (let slice = 0; slice < SLICES; slice++) {
    const before = used()
    for (let i = 0; i < calls / SLICES; i++) run()
    sum += Math.abs(used() - before)
  }
  return sum
}

const goals: Goal[] = Object.keys(LOOPS).map((name) => ({
  name: `heap growth over 10⁷ operations: ${name}`,
  subject: name,
  baseline: 'allowed',
  sense: 'at most',
  must: 1,
  stretch: 0,
}))

async function start(): Promise<Session> {
  const loops = Object.entries(LOOPS).map(([name, make]) => [name, make()] as const)
  for (const [, { run }] of loops) growth(run, 2000)
  return {
    missing: {},
    round: async () => {
      const result: Record<string, number> = { allowed: ALLOWED }
      for (const [name, { run, operations }] of loops) {
        globalThis.gc?.()
        // Looking at the heap costs some of it.
        const looking = growth(() => {}, SLICES)
        result[name] = Math.max(0, growth(run, OPERATIONS / operations) - looking)
      }
      return result
    },
    end: () => {},
  }
}

export const garbage: Benchmark = {
  id: 'P14',
  aliases: ['garbage'],
  title: 'heap growth over 10⁷ operations',
  unit: 'bytes',
  goals,
  start,
}
