import { ConfigError } from '@iospace/wire'
import { expect, test } from 'vitest'
import { Capability, Command, Config, Count, Express, Msi } from '../src/index.ts'
import { board, enable, Probe, Scratch } from './board.ts'

const BDF = 0x08

function withProbe(spec: ConstructorParameters<typeof Probe>[0] = {}) {
  const { pci, mmio, clock } = board()
  const probe = new Probe(spec)
  pci.add(0, BDF, probe)
  return { pci, mmio, clock, probe }
}

test('where no function answers, configuration reads give all ones and writes vanish (PCI 3.0 6.1)', () => {
  const { pci } = board()
  expect([1, 2, 4].map((size) => pci.configRead(0x10, 0, size))).toEqual([0xff, 0xffff, 0xffff_ffff])
  pci.configWrite(0x10, 4, 2, 6)
  expect(pci.configRead(0x10, 4, 2)).toBe(0xffff)
})

test('the header shows ids and class, and only command bits that exist can be set (PCI 3.0 6.2)', () => {
  const { pci } = withProbe({ revision: 3 })
  expect(pci.configRead(BDF, 0, 4)).toBe(0x0001f0f0)
  expect(pci.configRead(BDF, 8, 4)).toBe(0x08800003)
  pci.configWrite(BDF, Config.command, 2, 0xffff)
  expect(pci.configRead(BDF, Config.command, 2)).toBe(Command.memory | Command.busMaster | Command.interruptDisable)
  pci.configWrite(BDF, 0, 4, 0)
  expect(pci.configRead(BDF, 0, 4)).toBe(0x0001f0f0)
  pci.configWrite(BDF, Config.interruptLine, 1, 11)
  expect(pci.configRead(BDF, Config.interruptLine, 1)).toBe(11)
})

test('a BAR tells its size by the bits that stay zero (PCI 3.0 6.2.5.1)', () => {
  const { pci } = withProbe({
    bars: [
      { index: 0, bytes: 0x4000, wide: true, registers: new Scratch() },
      { index: 2, bytes: 0x100000, wide: false, registers: new Scratch() },
    ],
  })
  const sized = (index: number) => {
    const at = Config.bar0 + 4 * index
    pci.configWrite(BDF, at, 4, 0xffff_ffff)
    return pci.configRead(BDF, at, 4)
  }
  expect(sized(0)).toBe(0xffff_c004)
  expect(sized(1)).toBe(0xffff_ffff)
  expect(sized(2)).toBe(0xfff0_0000)
  expect(sized(3)).toBe(0)
})

test('firmware places BARs in the hole, naturally aligned and apart', () => {
  const { pci } = board()
  const ranges = [0x100000, 4096, 0x4000, 0x100000].map((bytes, i) => {
    pci.add(0, i << 3, new Probe({ bars: [{ index: 0, bytes, wide: i === 1, registers: new Scratch() }] }))
    const base = pci.barAddress(pci.at(i << 3)!, 0)
    expect(base % bytes).toBe(0)
    expect(pci.configRead(i << 3, Config.bar0, 4)).toBe(base + (i === 1 ? 4 : 0))
    return [base, base + bytes] as const
  })
  ranges.sort(([a], [b]) => a - b)
  for (const [i, [base]] of ranges.entries()) expect(base).toBeGreaterThanOrEqual(ranges[i - 1]?.[1] ?? 0xe000_0000)
  expect(ranges.at(-1)![1]).toBeLessThanOrEqual(0xfec0_0000)
  const huge = { index: 0, bytes: 0x2000_0000, wide: false, registers: new Scratch() }
  expect(() => pci.add(1 - 1, 0xf0, new Probe({ bars: [huge] }))).toThrow(ConfigError)
})

test('registers answer only while memory decoding is on (PCI 3.0 6.2.2)', () => {
  const { pci, mmio, probe } = withProbe()
  const base = pci.barAddress(probe, 0)
  mmio.write32(base, 5)
  expect(mmio.read32(base)).toBe(0xffff_ffff)
  enable(board(), BDF)
  pci.configWrite(BDF, Config.command, 2, Command.memory)
  expect(mmio.read32(base)).toBe(0)
  mmio.write32(base, 5)
  expect(mmio.read32(base)).toBe(5)
  pci.configWrite(BDF, Config.command, 2, 0)
  expect(mmio.claims(base)).toBe(false)
})

test('a BAR that software moves decodes at its new place, also above 4 GiB', () => {
  const { pci, mmio } = withProbe({ bars: [{ index: 0, bytes: 4096, wide: true, registers: new Scratch() }] })
  pci.configWrite(BDF, Config.command, 2, Command.memory)
  pci.configWrite(BDF, Config.bar0, 4, 0x1000)
  pci.configWrite(BDF, Config.bar0 + 4, 4, 0x21)
  mmio.write32(0x21_0000_1004, 9)
  expect(mmio.read32(0x21_0000_1004)).toBe(9)
})

test('a BAR that software puts over other registers does not decode, and nothing is thrown', () => {
  const { pci, mmio, probe } = withProbe()
  const other = new Scratch()
  mmio.map(0xfed9_0800, 4096, other)
  pci.configWrite(BDF, Config.command, 2, Command.memory)
  for (const base of [0xfed9_0000, 0xfed9_1000]) {
    pci.configWrite(BDF, Config.bar0, 4, base)
    mmio.write32(0xfed9_0800, base >>> 12)
    expect(other.words.get(0)).toBe(base >>> 12)
    expect(mmio.claims(base === 0xfed9_0000 ? base : base + 0x800)).toBe(false)
  }
  expect(probe.registers.words.size).toBe(0)
})

test('capabilities form a list that status bit 4 announces (PCI 3.0 6.7)', () => {
  const { pci } = withProbe()
  expect(pci.configRead(BDF, Config.status, 2) & 0x10).toBe(0x10)
  const ids: number[] = []
  for (let at = pci.configRead(BDF, Config.capabilities, 1); at !== 0; at = pci.configRead(BDF, at + 1, 1)) {
    ids.push(pci.configRead(BDF, at, 1))
  }
  expect(ids).toEqual([Capability.msi, Capability.pciExpress])
})

test('a function without capabilities has no list', () => {
  const { pci } = withProbe({ msi: false, express: undefined as never })
  expect(pci.configRead(BDF, Config.status, 2)).toBe(0)
  expect(pci.configRead(BDF, Config.capabilities, 1)).toBe(0)
})

test('function-level reset puts configuration space, decoding, mastering and the model back (PCIe 2.0 6.6.2)', () => {
  const { pci, mmio, probe } = withProbe()
  const base = pci.barAddress(probe, 0)
  pci.configWrite(BDF, Config.command, 2, Command.memory | Command.busMaster)
  mmio.write32(base, 5)
  const express = probe.config.findCapability(Capability.pciExpress)
  expect(pci.configRead(BDF, express + Express.deviceCapabilities, 4) & Express.functionResetCapable).not.toBe(0)
  pci.configWrite(BDF, express + Express.deviceControl, 2, Express.initiateReset)
  expect(probe.resets).toBe(1)
  expect(pci.configRead(BDF, Config.command, 2)).toBe(0)
  expect(pci.configRead(BDF, express + Express.deviceControl, 2)).toBe(0)
  expect(pci.barAddress(probe, 0)).toBe(0)
  expect(mmio.claims(base)).toBe(false)
  expect(probe.dmaRead(0, 0, 0, 4)).toBeLessThan(0)
})

test('function-level reset comes by a byte write too, and not from other bits', () => {
  const { pci, probe } = withProbe()
  const control = probe.config.findCapability(Capability.pciExpress) + Express.deviceControl
  pci.configWrite(BDF, control, 2, 0x7fff)
  pci.configWrite(BDF, control, 1, 0x80)
  expect(probe.resets).toBe(0)
  pci.configWrite(BDF, control + 1, 1, 0x80)
  expect(probe.resets).toBe(1)
  pci.configWrite(BDF, control, 4, 0x8000)
  expect(probe.resets).toBe(2)
})

test('a function that cannot reset itself ignores the request', () => {
  const { pci, probe } = withProbe({ express: { functionReset: false } })
  const express = probe.config.findCapability(Capability.pciExpress)
  pci.configWrite(BDF, express + Express.deviceControl, 2, Express.initiateReset)
  expect(probe.resets).toBe(0)
})

test('MSI registers keep what the specification lets them keep (PCI 3.0 6.8.1)', () => {
  const { pci, probe } = withProbe()
  const msi = probe.config.findCapability(Capability.msi)
  for (const [at, size] of [
    [msi + Msi.control, 2],
    [msi + Msi.address, 4],
    [msi + Msi.upperAddress, 4],
    [msi + Msi.data, 2],
  ] as const)
    pci.configWrite(BDF, at, size, 0xffff_ffff)
  expect(pci.configRead(BDF, msi + Msi.control, 2)).toBe(Msi.enable | Msi.wide)
  expect(pci.configRead(BDF, msi + Msi.address, 4)).toBe(0xffff_fffc)
  expect(pci.configRead(BDF, msi + Msi.upperAddress, 4)).toBe(0xffff_ffff)
  expect(pci.configRead(BDF, msi + Msi.data, 2)).toBe(0xffff)
})

test('configuration accesses are charged', () => {
  const { pci, clock } = withProbe()
  pci.configRead(BDF, 0, 4)
  pci.configWrite(BDF, 4, 2, 0)
  expect(clock.counts[Count.configAccess]).toBe(2)
})

test('a taken slot, a bus without a bridge and a BAR of an odd size are ConfigErrors', () => {
  const { pci } = withProbe()
  expect(() => pci.add(0, BDF, new Probe())).toThrow(ConfigError)
  expect(() => pci.add(1, 0, new Probe())).toThrow(ConfigError)
  const bar = { index: 0, bytes: 5000, wide: false, registers: new Scratch() }
  expect(() => new Probe({ bars: [bar] })).toThrow(ConfigError)
})
