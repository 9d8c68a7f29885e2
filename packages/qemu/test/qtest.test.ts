import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { edu, findQemu, openEdu, QemuError, QemuMachine, Qtest } from '../src/index.ts'
import { qemuPath, qemuTest } from './qemu.ts'

// A temporary folder of our own shows what is left of it.
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iospace-test-'))
  vi.stubEnv('TMPDIR', folder)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

/** Command lines of all QEMUs that name the folder; the shell that ends one, and clears up, may outlive it by a moment. */
const processes = () =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'latin1')
      } catch {
        return ''
      }
    })
    .filter((line) => line.includes(folder) && !/^(sh|rm)\0/.test(line))

test('a program that is no QEMU, or none at all, is a reason and no exception', () => {
  expect(findQemu('/nowhere/qemu')).toEqual({ ok: false, reason: '/nowhere/qemu does not run (ENOENT)' })
  expect(findQemu('true')).toEqual({ ok: false, reason: 'true does not tell its version' })
})

qemuTest('memory answers by byte, word and block; posted writes are in order with reads', () => {
  using board = new QemuMachine({ qemu: qemuPath })
  const { memory, qtest } = board
  memory.writeU64(0x10000, 0x1122_3344_5566_7788n)
  memory.writeU32(0x10004, 0xffff_ffff)
  qtest.writew(0x10002, 0xabcd)
  qtest.writeb(0x10000, 0x101)
  expect(memory.readU64(0x10000)).toBe(0xffff_ffff_abcd_7701n)
  expect([qtest.readb(0x10001), qtest.readw(0x10002), memory.readU32(0x10004)]).toEqual([0x77, 0xabcd, 0xffff_ffff])
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i * 7)
  memory.write(0x20001, bytes)
  expect(memory.read(0x20001, bytes.length)).toEqual(bytes)
  memory.fill(0x20001, 0x5a, 3)
  expect([...memory.read(0x20000, 5)]).toEqual([0, 0x5a, 0x5a, 0x5a, bytes[3]])
})

qemuTest('more posted writes than a pipe holds answers are all taken', () => {
  using board = new QemuMachine({ qemu: qemuPath })
  for (let i = 0; i < 60_000; i++) board.memory.writeU32(0x10000 + 4 * (i & 0xff), i)
  expect(board.memory.readU32(0x10000 + 4 * (59_999 & 0xff))).toBe(59_999)
})

qemuTest('configuration space answers by mechanism 1 (PCI 3.0, 3.2.2.3.2); absent functions read all ones', () => {
  using board = new QemuMachine({ qemu: qemuPath, devices: [edu(3)] })
  const { pci } = board
  expect(pci.configRead(0x18, 0, 4)).toBe(0x11e8_1234)
  expect([pci.configRead(0x18, 2, 2), pci.configRead(0x18, 1, 1)]).toEqual([0x11e8, 0x12])
  expect(pci.configRead(0x20, 0, 4)).toBe(0xffff_ffff)
  pci.configWrite(0x18, 0x10, 4, 0xffff_ffff)
  expect(pci.configRead(0x18, 0x10, 4)).toBe(0xfff0_0000)
})

qemuTest('edu moves bytes both ways without an IOMMU, of odd lengths too', () => {
  using board = new QemuMachine({ qemu: qemuPath, devices: [edu(3)] })
  const device = openEdu(board.pci, board.mmio, 0x18, 0xe000_0000)
  const bytes = Uint8Array.from({ length: 4095 }, (_, i) => (i * 31) ^ (i >> 5))
  board.memory.write(0x12_3001, bytes)
  expect(device.fetch(0, 0x12_3001, 0, 4095)).toBe(0)
  expect(device.store(0, 0x20_0003, 0, 4095)).toBe(0)
  expect(board.memory.read(0x20_0002, 4097)).toEqual(Uint8Array.of(0, ...bytes, 0))
  expect(device.store(0, 0x30_0001, 17, 1)).toBe(0)
  expect([...board.memory.read(0x30_0000, 3)]).toEqual([0, bytes[17], 0])
})

qemuTest('a QEMU that refuses its arguments is an error with what it said, and leaves nothing behind', () => {
  expect(() => new QemuMachine({ qemu: qemuPath, devices: ['no-such-device'] })).toThrow(/no-such-device/)
  expect(() => new Qtest({ qemu: qemuPath, args: ['-no-such-option'] })).toThrow(QemuError)
  expect(() => new Qtest({ qemu: '/nowhere/qemu', args: [] })).toThrow(/\/nowhere\/qemu/)
  expect([readdirSync(folder), processes()]).toEqual([[], []])
})

qemuTest('a QEMU that ends between two commands is an error, not a hang', () => {
  using board = new QemuMachine({ qemu: qemuPath })
  // The chipset's reset register: QEMU runs with -no-reboot.
  board.qtest.outb(0xcf9, 6)
  expect(() => {
    for (let i = 0; i < 1000; i++) board.memory.readU32(0)
  }).toThrow(QemuError)
})

qemuTest('when its owner is killed, QEMU ends and its pipes go too', async () => {
  const script = `
    import { QemuMachine } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}
    new QemuMachine({ qemu: ${JSON.stringify(qemuPath)} })
    console.log('up')
    setInterval(() => {}, 1000)
  `
  const args = ['--conditions=@iospace/source', '--input-type=module', '-e', script]
  const owner = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(owner.stdout, 'data')
  expect(processes()).toHaveLength(1)
  owner.kill('SIGKILL')
  await vi.waitFor(() => expect([readdirSync(folder), processes()]).toEqual([[], []]), { timeout: 10_000 })
})

qemuTest('a disposed QEMU has ended, and its pipes are gone', () => {
  const board = new QemuMachine({ qemu: qemuPath })
  expect([readdirSync(folder).length, processes().length]).toEqual([1, 1])
  board[Symbol.dispose]()
  expect([readdirSync(folder), processes()]).toEqual([[], []])
  expect(() => board.memory.readU32(0)).toThrow()
})
