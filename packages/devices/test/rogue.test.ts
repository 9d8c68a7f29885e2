import { Capability, Command, Config, DmaOutcome, Express, Msi } from '@iospace/machine'
import { expect, test } from 'vitest'
import { IOSPACE_VENDOR, ROGUE_DEVICE, RogueDevice, rogueOutcome } from '../src/index.ts'
import { board, Gate, PAGE, pattern } from './rig.ts'

const BDF = 0x10

function plugged(latency = 0) {
  const machine = board()
  const gate = new Gate(machine)
  const device = new RogueDevice({ machine, latency })
  machine.pci.add(0, BDF, device)
  const bar = machine.pci.barAddress(device, 0)
  machine.pci.configWrite(BDF, Config.command, 2, Command.memory | Command.busMaster)
  const read = (offset: number) => machine.mmio.read32(bar + offset)
  const write = (offset: number, value: number) => machine.mmio.write32(bar + offset, value)
  /** Sets address and length, runs a command, returns the status register. */
  const run = (command: number, address: number, length = 4096) => {
    write(0x04, address % 2 ** 32)
    write(0x08, Math.floor(address / 2 ** 32))
    write(0x0c, length)
    write(0x18, command)
    return read(0x1c)
  }
  return { machine, gate, device, read, write, run }
}

test('it has ids of its own and a class that no driver binds', () => {
  const { machine, read } = plugged()
  expect(machine.pci.configRead(BDF, 0, 4)).toBe(((ROGUE_DEVICE << 16) | IOSPACE_VENDOR) >>> 0)
  expect(machine.pci.configRead(BDF, Config.revision, 4) >>> 8).toBe(0x118000)
  expect(read(0)).toBe(0x55474f52)
})

test('it reads any machine address into its buffer, which its driver sees through the BAR', () => {
  const { machine, read, run } = plugged()
  const secret = pattern(64)
  machine.memory.bytes.set(secret, machine.memory.frameOffset(0x100007))
  const status = run(1, 0x1_0000_7000, 64)
  expect([status & 7, rogueOutcome(status)]).toEqual([2, DmaOutcome.untranslated])
  const words = Array.from({ length: 16 }, (_, i) => read(0x1000 + 4 * i))
  expect(words).toEqual([...new Uint32Array(secret.buffer)])
})

test('it writes its buffer to any machine address, over a page edge', () => {
  const { machine, write, run } = plugged()
  const words = new Uint32Array(pattern(PAGE).buffer)
  words.forEach((word, i) => write(0x1000 + 4 * i, word))
  expect(rogueOutcome(run(2, 0x5800))).toBe(DmaOutcome.untranslated)
  expect(Buffer.compare(machine.memory.bytes.subarray(0x5800, 0x6800), pattern(PAGE))).toBe(0)
})

test('it forges interrupt messages, and any other write of 4 bytes', () => {
  const { machine, write, run } = plugged()
  write(0x10, 0x4d)
  expect(rogueOutcome(run(3, 0xfee0_0000, 0))).toBe(DmaOutcome.untranslated)
  expect(machine.interrupts.received[0x4d]).toBe(1)
  expect(rogueOutcome(run(3, 0x5004))).toBe(DmaOutcome.untranslated)
  expect(machine.memory.view.getUint32(0x5004, true)).toBe(0x4d)
})

test('every outcome reaches its driver', () => {
  const { machine, gate, run } = plugged()
  gate.block(0x5000)
  const outcomes = [Gate.translated + 0x4000, 0x4000, 0x5000, 0xe800_0000].map((address) =>
    rogueOutcome(run(1, address, 4)),
  )
  machine.pci.configWrite(BDF, Config.command, 2, Command.memory)
  expect([...outcomes, rogueOutcome(run(2, 0x4000, 4))]).toEqual([
    DmaOutcome.translated,
    DmaOutcome.untranslated,
    DmaOutcome.blocked,
    DmaOutcome.unclaimed,
    DmaOutcome.masterDisabled,
  ])
})

test.each([
  ['an unknown command', 9, 4],
  ['command 0', 0, 4],
  ['length 0', 1, 0],
  ['a length above its buffer', 2, 4097],
  ['a length above 2^31', 1, 0xffff_ffff],
])('%s is refused without a transfer', (_, command, length) => {
  const { gate, run } = plugged()
  const status = run(command, 0x4000, length)
  expect([status, rogueOutcome(status), gate.log]).toEqual([2 | 4, 0, []])
})

test('with a latency it is busy until done; commands meanwhile are ignored; a reset drops the transfer', () => {
  const { machine, gate, run, read } = plugged(50_000)
  expect(run(1, 0x4000, 4)).toBe(1)
  run(2, 0x6000, 8)
  while (machine.clock.advance());
  expect([read(0x1c) & 7, gate.log]).toEqual([2, ['r4000+4']])
  run(1, 0x4000, 4)
  const { pci } = machine
  let at = pci.configRead(BDF, Config.capabilities, 1)
  while (pci.configRead(BDF, at, 1) !== Capability.pciExpress) at = pci.configRead(BDF, at + 1, 1)
  pci.configWrite(BDF, at + Express.deviceControl, 2, Express.initiateReset)
  pci.configWrite(BDF, Config.command, 2, Command.busMaster)
  while (machine.clock.advance());
  expect(gate.log).toHaveLength(1)
})

test('completion sends the MSI when it is asked for', () => {
  const { machine, write, run } = plugged()
  const { pci } = machine
  let at = pci.configRead(BDF, Config.capabilities, 1)
  while (pci.configRead(BDF, at, 1) !== Capability.msi) at = pci.configRead(BDF, at + 1, 1)
  pci.configWrite(BDF, at + Msi.address, 4, 0xfee0_0000)
  pci.configWrite(BDF, at + Msi.data, 2, 0x55)
  pci.configWrite(BDF, at + Msi.control, 2, Msi.enable)
  run(1, 0x4000, 4)
  expect(machine.interrupts.received[0x55]).toBe(0)
  write(0x14, 1)
  run(1, 0x4000, 4)
  expect(machine.interrupts.received[0x55]).toBe(1)
})

test('a reset clears the buffer: its next owner finds nothing of the last one', () => {
  const { device, machine, read, run } = plugged()
  machine.memory.bytes.fill(0xaa, 0x4000, 0x5000)
  run(1, 0x4000)
  expect(read(0x1000)).toBe(0xaaaa_aaaa)
  const bar = machine.pci.barAddress(device, 0)
  device.reset()
  machine.pci.configWrite(BDF, Config.bar0, 4, bar)
  machine.pci.configWrite(BDF, Config.command, 2, Command.memory)
  expect([read(0x1000), read(0x04), read(0x1c)]).toEqual([0, 0, 0])
})

test('registers: magic, status and reserved ones cannot be written', () => {
  const { read, write } = plugged()
  for (const offset of [0x00, 0x1c, 0x20, 0x100]) write(offset, 0xffff_ffff)
  expect([read(0x00), read(0x1c), read(0x20), read(0x100)]).toEqual([0x55474f52, 0, 0, 0])
  for (const offset of [0x04, 0x08, 0x0c, 0x10, 0x14]) write(offset, 0xffff_fff0)
  expect([0x04, 0x08, 0x0c, 0x10, 0x14].map(read)).toEqual([
    0xffff_fff0, 0xffff_fff0, 0xffff_fff0, 0xffff_fff0, 0xffff_fff0,
  ])
})
