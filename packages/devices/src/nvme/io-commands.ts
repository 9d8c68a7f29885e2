/** I/O commands (NVMe 1.4 section 6): flush, write and read of the one namespace, whose blocks are those of the store. */
import type { MachineMemory } from '@iospace/machine'
import { type BlockStore, StoreStatus } from '../block-store.ts'
import type { Command } from './command.ts'
import type { NvmeDma } from './dma.ts'
import type { NvmeLatency } from './latency.ts'
import type { PrpData } from './prp.ts'
import {
  ALL_NAMESPACES,
  BLOCK_BYTES,
  CDW0_UNSUPPORTED,
  FORCE_UNIT_ACCESS,
  IoOpcode,
  MAX_TRANSFER,
  NAMESPACE,
  Sqe,
} from './spec/commands.ts'
import { DO_NOT_RETRY, Status } from './spec/status.ts'

export interface IoParts {
  readonly memory: MachineMemory
  readonly store: BlockStore
  readonly dma: NvmeDma
  readonly prp: PrpData
  readonly latency: NvmeLatency
  /** Board memory for one command's data. */
  readonly dataAt: number
  /** Feature Volatile Write Cache: 0 makes every write wait for stable media. */
  readonly writeCache: () => boolean
}

export class IoCommands {
  /** Logical blocks; the last one may lie partly behind the end of the store. */
  readonly blocks: number
  /** Commands carried out, by opcode. */
  readonly counts = new Uint32Array(256)
  /** Bytes and media errors, for the health log. */
  readonly #sums = new Float64Array(3)
  readonly #parts: IoParts

  constructor(parts: IoParts) {
    this.#parts = parts
    this.blocks = Math.ceil(parts.store.bytes / BLOCK_BYTES)
  }

  get bytesRead(): number {
    return this.#sums[0]!
  }
  get bytesWritten(): number {
    return this.#sums[1]!
  }
  get mediaErrors(): number {
    return this.#sums[2]!
  }

  /** Carries out `command`; returns its status. */
  readonly execute = (command: Command): number => {
    const { words } = this.#parts.memory
    const cdw0 = words[command.sqe + Sqe.cdw0]!
    const opcode = cdw0 & 0xff
    this.counts[opcode]!++
    if (opcode > IoOpcode.read) return Status.invalidOpcode
    if ((cdw0 & CDW0_UNSUPPORTED) !== 0) return Status.invalidField
    const nsid = words[command.sqe + Sqe.nsid]! >>> 0
    if (nsid !== NAMESPACE && !(opcode === IoOpcode.flush && nsid === ALL_NAMESPACES)) return Status.invalidNamespace
    return opcode === IoOpcode.flush ? this.#flush() : this.#transfer(command.sqe, opcode === IoOpcode.write)
  }

  /** Bytes that a command asks to move. */
  readonly payloadOf = (command: Command): number => {
    const { words } = this.#parts.memory
    const opcode = words[command.sqe + Sqe.cdw0]! & 0xff
    if (opcode !== IoOpcode.read && opcode !== IoOpcode.write) return 0
    return Math.min(blocksOf(words[command.sqe + Sqe.cdw12]!) * BLOCK_BYTES, MAX_TRANSFER)
  }

  /** Time that a command takes besides, in ns. */
  readonly extraTimeOf = (command: Command): number => {
    const { memory, latency } = this.#parts
    return (memory.words[command.sqe + Sqe.cdw0]! & 0xff) === IoOpcode.flush ? latency.flush : 0
  }

  #transfer(sqe: number, write: boolean): number {
    const { memory, prp } = this.#parts
    const { words } = memory
    const count = blocksOf(words[sqe + Sqe.cdw12]!)
    const length = count * BLOCK_BYTES
    if (length > MAX_TRANSFER) return Status.invalidField
    const block = (words[sqe + Sqe.cdw11]! >>> 0) * 0x1_0000_0000 + (words[sqe + Sqe.cdw10]! >>> 0)
    if (block + count > this.blocks) return Status.lbaOutOfRange
    const status = prp.resolve(sqe, length)
    if (status !== Status.success) return status
    return write ? this.#write(sqe, block * BLOCK_BYTES, length) : this.#read(block * BLOCK_BYTES, length)
  }

  #read(offset: number, length: number): number {
    const { memory, store, dma, prp, dataAt } = this.#parts
    const stored = Math.min(length, store.bytes - offset)
    const answer = store.read(offset, memory.bytes, dataAt, stored)
    if (answer !== StoreStatus.ok) return this.#storeError(answer, Status.unrecoveredReadError)
    if (stored < length) memory.fill(dataAt + stored, 0, length - stored)
    const status = prp.deliver(dataAt, dma.payload)
    if (status === Status.success) this.#sums[0]! += length
    return status
  }

  #write(sqe: number, offset: number, length: number): number {
    const { memory, store, dma, prp, dataAt, writeCache } = this.#parts
    if (store.readOnly) return Status.writeProtected
    const status = prp.fetch(dataAt, dma.payload)
    if (status !== Status.success) return status
    const stored = Math.min(length, store.bytes - offset)
    // Behind the store's end only zeros exist: other bytes could not be read back, so they are not silently dropped.
    for (let at = dataAt + stored; at < dataAt + length; at++) {
      if (memory.bytes[at] !== 0) return this.#mediaError(Status.writeFault)
    }
    const answer = store.write(offset, memory.bytes, dataAt, stored)
    if (answer !== StoreStatus.ok) return this.#storeError(answer, Status.writeFault)
    this.#sums[1]! += length
    const stable = (memory.words[sqe + Sqe.cdw12]! & FORCE_UNIT_ACCESS) !== 0 || !writeCache()
    return stable ? this.#flush() : Status.success
  }

  #flush(): number {
    const answer = this.#parts.store.flush()
    return answer === StoreStatus.ok ? Status.success : this.#storeError(answer, Status.writeFault)
  }

  #storeError(answer: number, media: number): number {
    switch (answer) {
      case StoreStatus.full:
        return Status.capacityExceeded
      case StoreStatus.readOnly:
        return Status.writeProtected
      case StoreStatus.io:
        return this.#mediaError(media)
      case StoreStatus.short:
        // The bytes are gone: another try would not find them.
        return this.#mediaError(media | DO_NOT_RETRY)
      default:
        return Status.internalError
    }
  }

  #mediaError(status: number): number {
    this.#sums[2]!++
    return status
  }
}

/** NLB in cdw12 15:0 is 0's based (6.9, 6.15). */
const blocksOf = (cdw12: number): number => (cdw12 & 0xffff) + 1
