import { expect, test } from 'vitest'
import { Capability, Command, Config, Count, DmaOutcome, type DmaTranslator, type Machine, Msi } from '../src/index.ts'
import { board, enable, Probe } from './board.ts'

/** A translator that notes who asks, and lets everything through. */
function listener(machine: Machine): number[] {
  const requesters: number[] = []
  const through = machine.pci.translator
  const translator: DmaTranslator = {
    dmaRead: (requester, ...rest) => (requesters.push(requester), through.dmaRead(requester, ...rest)),
    dmaWrite: (requester, ...rest) => (requesters.push(requester), through.dmaWrite(requester, ...rest)),
  }
  machine.pci.translator = translator
  return requesters
}

function masters(machine: Machine, bdfs: readonly number[]): void {
  for (const bdf of bdfs) enable(machine, bdf, Command.busMaster)
}

test('a function masters the bus only with its own bit and that of every bridge above (PCI 3.0 6.2.2)', () => {
  const machine = board()
  const bus = machine.pci.addBridge(0, 0x10, 'root-port')
  const inner = machine.pci.addBridge(bus, 0, 'root-port')
  const probe = new Probe()
  machine.pci.add(inner, 0x08, probe)
  const chain = [0x10, bus << 8, (inner << 8) | 0x08]
  const at = machine.memory.boardMemory(4)
  for (let missing = 0; missing < chain.length; missing++) {
    masters(machine, chain)
    expect(probe.dmaRead(0, 0, at, 4)).toBe(DmaOutcome.untranslated)
    machine.pci.configWrite(chain[missing]!, Config.command, 2, 0)
    expect(probe.dmaRead(0, 0, at, 4)).toBe(DmaOutcome.masterDisabled)
    expect(probe.dmaWrite(0, 0, at, 4)).toBe(DmaOutcome.masterDisabled)
  }
})

test('a root port keeps requester ids (PCIe 2.0 2.2.6.2)', () => {
  const machine = board()
  const requesters = listener(machine)
  const bus = machine.pci.addBridge(0, 0x10, 'root-port')
  const probe = new Probe()
  machine.pci.add(bus, 0x0b, probe)
  masters(machine, [0x10, (bus << 8) | 0x0b])
  probe.dmaRead(0, 0, machine.memory.boardMemory(4), 4)
  expect(requesters).toEqual([(bus << 8) | 0x0b])
})

test('a conventional bridge takes ownership: its secondary bus, devfn 0 (PCIe to PCI Bridge 1.0 2.3)', () => {
  const machine = board()
  const requesters = listener(machine)
  const port = machine.pci.addBridge(0, 0x10, 'root-port')
  const legacy = machine.pci.addBridge(port, 0, 'conventional')
  const deeper = machine.pci.addBridge(legacy, 0x08, 'conventional')
  const [near, far] = [new Probe(), new Probe()]
  machine.pci.add(legacy, 0x18, near)
  machine.pci.add(deeper, 0x20, far)
  masters(machine, [0x10, port << 8, (legacy << 8) | 0x08, near.bdf, far.bdf])
  const at = machine.memory.boardMemory(4)
  near.dmaRead(0, 0, at, 4)
  far.dmaWrite(0, 0, at, 4)
  expect(requesters).toEqual([legacy << 8, legacy << 8])
})

test('bus numbers nest: a bridge’s subordinate number covers every bus below it (PCI-to-PCI Bridge 1.2 3.2.5)', () => {
  const { pci } = board()
  const a = pci.addBridge(0, 0x10, 'root-port')
  const b = pci.addBridge(a, 0, 'conventional')
  const c = pci.addBridge(b, 0, 'conventional')
  const numbers = (bdf: number) =>
    [Config.primaryBus, Config.secondaryBus, Config.subordinateBus].map((at) => pci.configRead(bdf, at, 1))
  expect(numbers(0x10)).toEqual([0, a, c])
  expect(numbers(a << 8)).toEqual([a, b, c])
  expect(numbers(b << 8)).toEqual([b, c, c])
  expect(pci.configRead(0x10, Config.headerType, 1)).toBe(1)
  expect(pci.bridgesAbove((c << 8) | 0x08).map(({ bdf }) => bdf)).toEqual([b << 8, a << 8, 0x10])
  expect(pci.functions().map(({ bdf }) => bdf)).toEqual([0x10, a << 8, b << 8])
})

test('MSI is a memory write of the function: data to the address in its registers (PCI 3.0 6.8.3.4)', () => {
  const machine = board()
  const { pci, memory, interrupts } = machine
  const requesters = listener(machine)
  const probe = new Probe()
  pci.add(0, 0x08, probe)
  const msi = probe.config.findCapability(Capability.msi)
  const send = () => probe.interrupt()
  pci.configWrite(0x08, msi + Msi.address, 4, 0xfee0_0000)
  pci.configWrite(0x08, msi + Msi.data, 2, 0x4055)
  send()
  expect(requesters).toEqual([])
  pci.configWrite(0x08, msi + Msi.control, 2, Msi.enable)
  send()
  expect(interrupts.received[0x55]).toBe(0)
  enable(machine, 0x08)
  send()
  expect(interrupts.received[0x55]).toBe(1)
  // Aimed at memory, it is an ordinary write: what makes forged interrupts possible makes this possible too.
  pci.configWrite(0x08, msi + Msi.address, 4, 0x3000)
  send()
  expect(memory.view.getUint32(memory.frameOffset(3), true)).toBe(0x4055)
  expect(requesters).toEqual([0x08, 0x08])
})

test('DMA is counted by transfer and byte, per machine and per function; failed ones move nothing', () => {
  const machine = board()
  const { pci, clock, memory } = machine
  const probe = new Probe()
  pci.add(0, 0x08, probe)
  const at = memory.boardMemory(8192)
  probe.dmaWrite(0, 0, at, 64)
  enable(machine, 0x08)
  probe.dmaWrite(0, 0x800, at, 5000)
  probe.dmaRead(1, 0, at, 16)
  probe.dmaRead(0, 0x4000_0000, at, 16)
  const { dmaRead, dmaWrite, dmaByte, translatedByte } = clock.snapshot()
  expect({ dmaRead, dmaWrite, dmaByte, translatedByte }).toEqual({
    dmaRead: 2,
    dmaWrite: 2,
    dmaByte: 5016,
    translatedByte: 0,
  })
  expect([probe.movedBytes, probe.translatedBytes]).toEqual([5016, 0])
  expect(clock.counts[Count.dmaFault]).toBe(0)
})

test('what a translator calls translated is counted as translated, and a trace sees every transfer', () => {
  const machine = board()
  const { pci, clock, memory } = machine
  pci.translator = { dmaRead: () => DmaOutcome.translated, dmaWrite: () => DmaOutcome.blocked }
  const seen: unknown[] = []
  machine.trace = {
    domain: () => {},
    device: () => {},
    hypercall: () => {},
    map: () => {},
    unmap: () => {},
    fault: () => {},
    dma: (_time, ...event) => seen.push(event),
  }
  const probe = new Probe()
  pci.add(0, 0x08, probe)
  enable(machine, 0x08)
  const at = memory.boardMemory(8)
  probe.dmaRead(1, -4096, at, 8)
  probe.dmaWrite(0, 0x1000, at, 4)
  expect([clock.counts[Count.translatedByte], probe.translatedBytes]).toEqual([8, 8])
  expect(seen).toEqual([
    [0x08, false, 0x1_ffff_f000, 8, DmaOutcome.translated],
    [0x08, true, 0x1000, 4, DmaOutcome.blocked],
  ])
})
