/**
 * A small machine whose memory is also a file for `iospace walk`: the same tables for the verb and for the hardware models, and what the
 * hardware made of a DMA beside what the verb says of it.
 */
import { DmaOutcome, type DmaTranslator, Machine, type Random } from '@iospace/machine'
import { expect } from 'vitest'
import type { Result } from './walk-file.ts'

export const FRAMES = 64
const RAM_BYTES = FRAMES * 4096
/** A frame full of random bytes, so that a read there cannot be mistaken for one elsewhere. */
export const DATA_FRAME = 12

export interface Dma {
  readonly requester: number
  readonly write: boolean
  readonly address: bigint
  readonly length: number
}

export class WalkBoard {
  readonly machine = new Machine({
    memory: { lowFrames: FRAMES, highFrames: 0, boardBytes: 1 << 16 },
    seed: 1,
    turn: () => Promise.resolve(),
  })
  readonly random: Random
  readonly #at = this.machine.memory.boardMemory(4096)
  readonly #ram = this.machine.memory.bytes.subarray(0, RAM_BYTES)
  readonly #before = new Uint8Array(RAM_BYTES)

  constructor(random: Random) {
    this.random = random
    const data = this.machine.memory.words.subarray(DATA_FRAME << 10, (DATA_FRAME + 1) << 10)
    for (let i = 0; i < data.length; i++) data[i] = random.next()
  }

  set(address: number, value: bigint, little = true): void {
    this.machine.memory.view.setBigUint64(address, BigInt.asUintN(64, value), little)
  }

  /** A file with this memory: all the rest of the address space is absent. */
  file(
    description: {
      readonly iommu: string
      readonly personality: string
      readonly registers: Readonly<Record<string, string>>
    },
    requests: readonly Dma[],
  ): object {
    const { view } = this.machine.memory
    const memory: { address: number; u64le: string[] }[] = []
    for (let address = 0, run: string[] | null = null; address < RAM_BYTES; address += 8) {
      const word = view.getBigUint64(address, true)
      if (word === 0n) run = null
      else if (run !== null) run.push(`0x${word.toString(16)}`)
      else memory.push({ address, u64le: (run = [`0x${word.toString(16)}`]) })
    }
    return {
      ...description,
      memory,
      absent: [{ address: RAM_BYTES, length: `0x${(2n ** 64n - BigInt(RAM_BYTES)).toString(16)}` }],
      requests: requests.map(({ requester, write, address, length }) => ({
        device: `${hex(requester >> 8)}:${hex((requester >> 3) & 31)}.${requester & 7}`,
        access: write ? 'write' : 'read',
        address: `0x${address.toString(16)}`,
        length,
      })),
    }
  }

  /**
   * Does `dma` through `translator` and compares with `result`: the same outcome, and the bytes at the machine address that the verb named,
   * and nowhere else. Memory is as before afterwards.
   */
  compare(translator: DmaTranslator, { requester, write, address, length }: Dma, result: Result): void {
    const { bytes, words } = this.machine.memory
    const hi = Number(BigInt.asIntN(32, address >> 32n))
    const lo = Number(BigInt.asIntN(32, address))
    const board = words.subarray(this.#at >> 2, (this.#at >> 2) + 1024)
    for (let i = 0; i < board.length; i++) board[i] = this.random.next()
    const sent = bytes.slice(this.#at, this.#at + length)
    this.#before.set(this.#ram)

    const done = write
      ? translator.dmaWrite(requester, hi, lo, this.#at, length)
      : translator.dmaRead(requester, hi, lo, this.#at, length)
    if (result.fault !== undefined) expect(done).toBe(DmaOutcome.blocked)
    else {
      const at = BigInt(result.machineAddress!)
      const inRam = at < BigInt(RAM_BYTES)
      const way = result.pageSize === 0 ? DmaOutcome.untranslated : DmaOutcome.translated
      expect(done).toBe(inRam ? way : DmaOutcome.unclaimed)
      if (inRam) this.#compareBytes(Number(at), write, length, sent)
    }
  }

  /** Puts memory back to what it was before the last {@link compare}. */
  restore(): void {
    this.#ram.set(this.#before)
  }

  // A page that is read may hold the very entry in which the walk has just set its accessed bit: memory as it is now.
  #compareBytes(at: number, write: boolean, length: number, sent: Uint8Array): void {
    const { bytes } = this.machine.memory
    const there = bytes.subarray(at, at + length)
    expect(Buffer.compare(there, write ? sent : bytes.subarray(this.#at, this.#at + length))).toBe(0)
  }
}

/** One of `list`. */
export const oneOf = <T>(random: Random, list: readonly T[]): T => list[random.below(list.length)]!

/** True once in `times`. */
export const rarely = (random: Random, times: number): boolean => random.below(times) === 0

const hex = (value: number): string => value.toString(16).padStart(2, '0')
