/**
 * What one 44 KiB read command costs the host beyond reading the file: a controller over a real file, eleven scattered pages by PRP list,
 * no IOMMU, the driver's part reduced to one entry, two doorbells and one look at the completion. Prints µs per command and heap growth.
 *
 *     node --conditions=@iospace/source packages/devices/bench/nvme-read.ts
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, Config, Machine } from '@iospace/machine'
import { type BlockStore, NvmeController, StoreStatus } from '../src/index.ts'

const COMMANDS = 20_000
const ROUNDS = 5
const PAGES = 11
const PAGE = 4096
const BYTES = PAGES * PAGE
const FILE_BYTES = 64 << 20
const SLOTS = Math.floor(FILE_BYTES / BYTES)

const folder = mkdtempSync(join(tmpdir(), 'iospace-bench-'))
const path = join(folder, 'disk')
const file = openSync(path, 'w+')
for (let at = 0; at < FILE_BYTES; at += 1 << 20) writeSync(file, Buffer.alloc(1 << 20, at >> 20))

const store: BlockStore = {
  bytes: FILE_BYTES,
  readOnly: true,
  read: (offset, target, at, length) =>
    readSync(file, target, at, length, offset) === length ? StoreStatus.ok : StoreStatus.short,
  write: () => StoreStatus.readOnly,
  flush: () => StoreStatus.ok,
}

const turn = () => Promise.resolve()
const machine = new Machine({ memory: { lowFrames: 2048, highFrames: 16, boardBytes: 4 << 20 }, seed: 1, turn })
const { memory, mmio, clock, pci } = machine
const device = new NvmeController({ machine, store })
pci.add(0, 8, device)
const bar = pci.barAddress(device, 0)
pci.configWrite(8, Config.command, 2, Command.memory | Command.busMaster)

const [adminSq, adminCq, sq, cq, list] = [0x1000, 0x2000, 0x3000, 0x4000, 0x5000]
const { words } = memory
const settle = () => {
  while (clock.advance());
}

function entry(
  at: number,
  opcode: number,
  prp1: number,
  prp2: number,
  cdw10: number,
  cdw11: number,
  cdw12: number,
): void {
  memory.fill(at, 0, 64)
  words[at >> 2] = opcode
  words[(at >> 2) + 1] = 1
  words[(at >> 2) + 6] = prp1
  words[(at >> 2) + 8] = prp2
  words[(at >> 2) + 10] = cdw10
  words[(at >> 2) + 11] = cdw11
  words[(at >> 2) + 12] = cdw12
}

mmio.write32(bar + 0x24, 0x000f_000f)
mmio.write32(bar + 0x28, adminSq)
mmio.write32(bar + 0x30, adminCq)
mmio.write32(bar + 0x14, 0x0046_0001)
settle()
entry(adminSq, 5, cq, 0, (63 << 16) | 1, 3, 0)
mmio.write32(bar + 0x1000, 1)
settle()
entry(adminSq + 64, 1, sq, 0, (63 << 16) | 1, 0x0001_0001, 0)
mmio.write32(bar + 0x1000, 2)
settle()

// Every second page, so that no two pages of a command are neighbours.
const page = (i: number) => (64 + 2 * i) * PAGE
for (let i = 1; i < PAGES; i++) words[(list >> 2) + 2 * (i - 1)] = page(i)

let tail = 0
let head = 0
let phase = 1

function command(i: number): void {
  entry(sq + 64 * tail, 2, page(0), list, ((i % SLOTS) * BYTES) / 512, 0, BYTES / 512 - 1)
  tail = (tail + 1) & 63
  mmio.write32(bar + 0x1008, tail)
  const status = (cq >> 2) + 4 * head + 3
  while (((words[status]! >>> 16) & 1) !== phase) clock.advance()
  if (words[status]! >>> 17 !== 0) throw new Error(`status ${(words[status]! >>> 17).toString(16)}`)
  head = (head + 1) & 63
  if (head === 0) phase ^= 1
  mmio.write32(bar + 0x100c, head)
}

const plainAt = memory.boardMemory(BYTES)
const plain = (i: number) => readSync(file, memory.bytes, plainAt, BYTES, (i % SLOTS) * BYTES)

function time(run: (i: number) => void): number {
  const start = process.hrtime.bigint()
  for (let i = 0; i < COMMANDS; i++) run(i)
  return Number(process.hrtime.bigint() - start) / COMMANDS / 1000
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!
time(plain)
time(command)
const rounds = Array.from({ length: ROUNDS }, () => [time(plain), time(command)] as const)
globalThis.gc?.()
const heap = process.memoryUsage().heapUsed
time(command)
globalThis.gc?.()
const growth = process.memoryUsage().heapUsed - heap
const [read, nvme] = [median(rounds.map(([a]) => a)), median(rounds.map(([, b]) => b))]
console.log(
  `readSync ${read.toFixed(2)} µs, NVMe read ${nvme.toFixed(2)} µs, beyond the file ${(nvme - read).toFixed(2)} µs`,
)
console.log(
  `heap growth over ${COMMANDS} commands: ${growth} bytes${globalThis.gc === undefined ? ' (run with --expose-gc)' : ''}`,
)
closeSync(file)
rmSync(folder, { recursive: true })
