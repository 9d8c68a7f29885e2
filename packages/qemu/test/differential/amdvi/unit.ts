/** Programs an AMD-Vi unit of either board through registers and memory, nothing else (facts B.2, B.5, B.7). */
import { amdvi } from '@iospace/iommu/spec'
import type { Board } from '../../boards/index.ts'
import { ARENA, ARENA_FRAMES, DATA, PAGE, QUEUE, RUN_BYTES } from '../memory-map.ts'
import { STORE_AT, STORE_BYTES, WAIT_STATUS } from '../memory-map.ts'
import type { Dma } from '../dma.ts'
import type { UnitPort } from '../side.ts'
import type { Operation, Words } from './operation.ts'
import { DEVICE_TABLE_PAGES, DEVICE_TABLES, FRESH_TABLES, REQUESTERS } from './world.ts'

const { CompletionWait, Control, DEVICE_ENTRY_BYTES, InvalidatePages, Opcode, OPCODE_SHIFT, Register } = amdvi
const { RingRegister } = amdvi

const RING_BYTES = PAGE
const COMMAND = amdvi.RING_ENTRY_BYTES

export class AmdviUnit implements UnitPort<Operation, Dma> {
  readonly board: Board
  readonly #base: number
  #tail = 0
  #sequence = 0

  constructor(board: Board) {
    this.board = board
    this.#base = board.unit
  }

  /** A unit without a past: empty tables but for the read-back, fresh data, buffers loaded, translation on. */
  reset(data: Uint8Array): void {
    const { memory, devices } = this.board
    this.#control(0)
    memory.fill(ARENA * PAGE, 0, ARENA_FRAMES * PAGE)
    for (const [i, first] of DATA.entries())
      memory.write(first * PAGE, data.subarray(i * RUN_BYTES, (i + 1) * RUN_BYTES))
    for (const requester of REQUESTERS)
      devices.get(requester)!.fetch(0, DATA[0] * PAGE + requester, STORE_AT, STORE_BYTES)
    for (const { frame, index, hi, lo } of FRESH_TABLES) this.#store(frame, index, hi, lo)
    this.#startRing()
    this.#setDeviceTable(DEVICE_TABLES[0], DEVICE_TABLE_PAGES)
  }

  /** Carries out all but DMA: 0, or 1 when the command buffer stopped. */
  perform(operation: Exclude<Operation, Dma>): number {
    switch (operation.kind) {
      case 'entries': {
        const { frame, index, count, hi, lo } = operation
        for (let i = 0; i < count; i++) this.#store(frame, index + i, hi, lo)
        return 0
      }
      case 'device':
        for (const table of DEVICE_TABLES) this.#storeDevice(table, operation.requester, operation.words)
        return 0
      case 'deviceTable':
        this.#setDeviceTable(operation.frame, operation.pages)
        return 0
      default:
        return this.#command(commandWords(operation))
    }
  }

  clear(): void {
    this.#command(commandWords({ kind: 'all' }))
  }

  faults(): string {
    return ''
  }

  #storeDevice(table: number, requester: number, words: readonly number[]): void {
    const at = (requester * DEVICE_ENTRY_BYTES) / 8
    for (let i = 0; i < 4; i++) this.#store(table + (at >>> 9), (at & 511) + i, words[2 * i + 1]!, words[2 * i]!)
  }

  // The table may only change while the unit is off.
  #setDeviceTable(frame: number, pages: number): void {
    this.#control(0)
    this.#write64(Register.deviceTable, frame >>> 20, (frame << 12) | (pages - 1))
    this.#startRing()
    this.#control(Control.enable | Control.commandBuffer)
    this.clear()
  }

  #startRing(): void {
    this.#write64(Register.commandBuffer, RingRegister.minLength << RingRegister.lengthShift, QUEUE << 12)
    this.#tail = 0
  }

  // Queues a command and a wait. Where the buffer stops it is begun anew, as Linux does.
  #command(words: Words): number {
    const { memory } = this.board
    const sequence = ++this.#sequence
    const wait = WAIT_STATUS * PAGE
    this.#slot(words)
    this.#slot([wait | CompletionWait.store, Opcode.completionWait << OPCODE_SHIFT, sequence, 0])
    this.#write64(Register.commandTail, 0, this.#tail)
    this.board.settle()
    if (memory.readU32(wait) === sequence) return 0
    this.#control(Control.enable)
    this.#startRing()
    this.#control(Control.enable | Control.commandBuffer)
    return 1
  }

  #slot([a, b, c, d]: Words): void {
    this.#store(QUEUE, this.#tail / 8, b, a)
    this.#store(QUEUE, this.#tail / 8 + 1, d, c)
    this.#tail = (this.#tail + COMMAND) % RING_BYTES
  }

  #store(frame: number, index: number, hi: number, lo: number): void {
    this.board.memory.writeU64(frame * PAGE + index * 8, (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0))
  }

  #control(low: number): void {
    this.#write64(Register.control, 0, low)
    this.board.settle()
  }

  #write64(offset: number, hi: number, lo: number): void {
    this.board.mmio.write32(this.#base + offset, lo)
    this.board.mmio.write32(this.#base + offset + 4, hi)
  }
}

type Command = Extract<Operation, { kind: 'pages' | 'entry' | 'all' | 'command' }>

function commandWords(command: Command): Words {
  switch (command.kind) {
    case 'pages': {
      const { domain, hi, lo, order, directories } = command
      // The first zero bit from 12 up is the highest offset bit.
      const [sizeHi, sizeLo] = order === 0 ? [0, 0] : ones(12, 11 + order)
      const [holeHi, holeLo] = order === 0 ? [0, 0] : ones(11 + order, 12 + order)
      const flags = (order === 0 ? 0 : InvalidatePages.sized) | (directories ? InvalidatePages.directories : 0)
      const address = ((lo | sizeLo) & ~holeLo & ~0xfff) | flags
      return [0, (Opcode.invalidatePages << OPCODE_SHIFT) | domain, address, (hi | sizeHi) & ~holeHi]
    }
    case 'entry':
      return [command.requester, Opcode.invalidateDevice << OPCODE_SHIFT, 0, 0]
    case 'all':
      return [0, Opcode.invalidateAll << OPCODE_SHIFT, 0, 0]
    case 'command':
      return command.words
  }
}

/** A 64-bit number, as halves, with ones from bit `from` to below bit `to`. */
function ones(from: number, to: number): [hi: number, lo: number] {
  const value = (1n << BigInt(to)) - (1n << BigInt(from))
  return [Number(value >> 32n), Number(value & 0xffff_ffffn)]
}
