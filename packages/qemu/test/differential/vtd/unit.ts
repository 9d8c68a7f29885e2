/** Programs a VT-d unit of either board, and reads its state: registers and memory, nothing else. */
import { vtd } from '@iospace/iommu/spec'
import type { Board } from '../../boards/index.ts'
import { ABSENT, ARENA, ARENA_FRAMES, DATA, PAGE, QUEUE, RUN_BYTES, SPARE_BYTE } from '../memory-map.ts'
import { STORE_AT, STORE_BYTES, WAIT_STATUS } from '../memory-map.ts'
import type { Dma } from '../dma.ts'
import type { UnitPort } from '../side.ts'
import { describeFaults, type FaultWords } from './faults.ts'
import type { Operation, Transfer, Words } from './operation.ts'
import { CONTEXTS, FRESH_TABLES, REQUESTERS, ROOTS } from './world.ts'

const {
  Register,
  GlobalCommand,
  Granularity,
  FaultStatus,
  FaultRecord,
  IotlbRegister,
  IotlbCommand,
  ContextCommand,
  DescriptorType,
} = vtd
const { IotlbDescriptor, ContextDescriptor, WaitDescriptor, InvalidationAddress } = vtd

const QUEUE_BYTES = PAGE
const DESCRIPTOR = vtd.DESCRIPTOR_BYTES

export class VtdUnit implements UnitPort<Operation, Transfer> {
  readonly board: Board
  readonly #base: number
  readonly #records: number
  readonly #iotlb: number
  #queued = false
  #tail = 0
  #sequence = 0
  #root: number = ROOTS[0]

  constructor(board: Board) {
    this.board = board
    this.#base = board.unit
    const read = (offset: number) => board.mmio.read32(this.#base + offset)
    const capabilities = vtd.decodeCapabilities({
      capLow: read(Register.capability),
      capHigh: read(Register.capability + 4),
      ecapLow: read(Register.extendedCapability),
    })
    this.#records = capabilities.faultRecordOffset
    this.#iotlb = capabilities.iotlbOffset
  }

  /** A unit without a past: empty tables but for the read-back, fresh data, buffers loaded, translation on. */
  reset(queued: boolean, data: Uint8Array): void {
    const { memory, devices } = this.board
    this.#command(GlobalCommand.translation, false)
    this.#command(GlobalCommand.queue, false)
    memory.fill(ARENA * PAGE, 0, ARENA_FRAMES * PAGE)
    for (const [i, first] of DATA.entries())
      memory.write(first * PAGE, data.subarray(i * RUN_BYTES, (i + 1) * RUN_BYTES))
    for (const requester of REQUESTERS)
      devices.get(requester)!.fetch(0, DATA[0] * PAGE + requester, STORE_AT, STORE_BYTES)
    for (const { frame, index, entry } of FRESH_TABLES) this.store(frame, index, 0, entry)
    this.#queued = queued
    this.#root = ROOTS[0]
    this.#setRootTable()
    if (queued) {
      this.#tail = 0
      this.#write64(Register.queueTail, 0, 0)
      this.#write64(Register.queueAddress, 0, QUEUE << 12)
      this.#command(GlobalCommand.queue, true)
    }
    this.#invalidateAll()
    this.faults({ keep: false })
    this.#command(GlobalCommand.translation, true)
  }

  /** Frame of the root table that the unit was told of. */
  get root(): number {
    return this.#root
  }

  /** Stores an 8-byte entry of a table. */
  store(frame: number, index: number, hi: number, lo: number): void {
    this.board.memory.writeU64(frame * PAGE + index * 8, (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0))
  }

  /** Carries out all but DMA. What the unit says of it is the result: granularity done, or state of the queue. */
  perform(operation: Exclude<Operation, Dma>): number {
    switch (operation.kind) {
      case 'entry':
        this.store(operation.frame, operation.index, operation.hi, operation.lo)
        return 0
      case 'root':
        if (this.#root !== ABSENT) this.#store16(this.#root, operation.bus, operation.words)
        return 0
      case 'context':
        this.#store16(CONTEXTS[operation.requester >>> 8]!, operation.requester & 0xff, operation.words)
        return 0
      case 'rootTable':
        this.#root = operation.frame
        this.#setRootTable()
        this.#invalidateAll()
        return 0
      case 'contexts':
        return this.#contexts(operation.granularity, operation.domain, operation.requester, operation.functionMask)
      case 'translations':
        return this.#translations(
          operation.granularity,
          operation.domain,
          operation.hi,
          operation.lo,
          operation.order,
          operation.leafOnly,
        )
      case 'descriptor':
        return this.#queued ? this.#descriptor(operation.words) : 0
    }
  }

  /** Fault status and first record; unless they are to be kept, both are cleared. */
  faults({ keep }: Pick<Transfer, 'keep'>): string {
    const status = this.#read(Register.faultStatus) & 0xff
    if (status === 0) return describeFaults(status, null)
    const at = this.#records
    const record: FaultWords = [this.#read(at), this.#read(at + 4), this.#read(at + 8), this.#read(at + 12)]
    if (!keep) {
      this.#write(at + 12, FaultRecord.fault)
      this.#write(Register.faultStatus, FaultStatus.overflow | FaultStatus.queueError)
    }
    return describeFaults(status, (record[3] & FaultRecord.fault) === 0 ? null : record)
  }

  clear(): void {
    this.#invalidateAll()
    this.faults({ keep: false })
  }

  /** Drops all contexts and translations. */
  #invalidateAll(): void {
    this.#contexts(Granularity.global, 0, 0, 0)
    this.#translations(Granularity.global, 0, 0, 0, 0, false)
  }

  #setRootTable(): void {
    this.#write64(Register.rootTable, this.#root >>> 20, this.#root << 12)
    this.#command(GlobalCommand.rootTable, true)
  }

  #contexts(granularity: number, domain: number, requester: number, functionMask: number): number {
    if (this.#queued) {
      const low =
        DescriptorType.context |
        (granularity << ContextDescriptor.granularityShift) |
        (domain << ContextDescriptor.domainShift)
      return this.#descriptor([low, requester | (functionMask << ContextDescriptor.functionMaskShift), 0, 0])
    }
    this.#write(Register.contextCommand, (requester << 16) | domain)
    this.#write(
      Register.contextCommand + 4,
      ContextCommand.invalidate | (granularity << ContextCommand.granularityShift) | functionMask,
    )
    this.board.settle()
    return this.#read(Register.contextCommand + 4) >>> ContextCommand.actualShift
  }

  #translations(granularity: number, domain: number, hi: number, lo: number, order: number, leafOnly: boolean): number {
    const address = (lo & ~0xfff) | (leafOnly ? InvalidationAddress.leafOnly : 0) | order
    if (this.#queued) {
      const { drainReads, drainWrites, granularityShift, domainShift } = IotlbDescriptor
      return this.#descriptor([
        DescriptorType.iotlb | drainReads | drainWrites | (granularity << granularityShift) | (domain << domainShift),
        0,
        address,
        hi,
      ])
    }
    this.#write64(this.#iotlb + IotlbRegister.address, hi, address)
    const { invalidate, granularityShift, drainReads, drainWrites } = IotlbCommand
    const command = this.#iotlb + IotlbRegister.command
    this.#write64(command, invalidate | (granularity << granularityShift) | drainReads | drainWrites | domain, 0)
    this.board.settle()
    return this.#read(command + 4) >>> IotlbCommand.actualShift
  }

  /** Queues a descriptor and a wait. The result: 0 when both were taken, else the fault status and where the head stopped. */
  #descriptor(words: Words): number {
    const { memory } = this.board
    const at = this.#tail
    const sequence = ++this.#sequence
    this.#slot(at, words)
    this.#slot(at + DESCRIPTOR, [DescriptorType.wait | WaitDescriptor.statusWrite, sequence, WAIT_STATUS << 12, 0])
    this.#tail = (at + 2 * DESCRIPTOR) % QUEUE_BYTES
    this.#write(Register.queueTail, this.#tail)
    this.board.settle()
    if (memory.readU32(WAIT_STATUS * PAGE) === sequence) return 0
    const status = this.#read(Register.faultStatus)
    const head = this.#read(Register.queueHead)
    // As Linux does: a harmless wait, which for QEMU must write something, in the bad slot, the error cleared, the tail written once more.
    this.#slot(at, [DescriptorType.wait | WaitDescriptor.statusWrite, 0, (WAIT_STATUS << 12) + SPARE_BYTE, 0])
    this.#write(Register.faultStatus, FaultStatus.queueError)
    this.#write(Register.queueTail, this.#tail)
    this.board.settle()
    const recovered = memory.readU32(WAIT_STATUS * PAGE) === sequence
    return ((status & FaultStatus.queueError) << 16) | ((head - at) & 0xfff) | (recovered ? 0 : 0x8000)
  }

  #slot(at: number, [a, b, c, d]: Words): void {
    this.store(QUEUE, at / 8, b, a)
    this.store(QUEUE, at / 8 + 1, d, c)
  }

  #store16(frame: number, index: number, [a, b, c, d]: Words): void {
    this.store(frame, 2 * index, b, a)
    this.store(frame, 2 * index + 1, d, c)
  }

  #command(bit: number, on: boolean): void {
    const status = this.#read(Register.globalStatus) & GlobalCommand.persistent
    this.#write(Register.globalCommand, on ? status | bit : status & ~bit)
    this.board.settle()
    if (((this.#read(Register.globalStatus) & bit) !== 0) !== on)
      throw new Error(`GCMD ${bit.toString(16)} is not taken`)
  }

  #read(offset: number): number {
    return this.board.mmio.read32(this.#base + offset)
  }

  #write(offset: number, value: number): void {
    this.board.mmio.write32(this.#base + offset, value)
  }

  #write64(offset: number, hi: number, lo: number): void {
    this.#write(offset, lo)
    this.#write(offset + 4, hi)
  }
}
