import { setImmediate } from 'node:timers'
import { Capability, Command, Config, DmaOutcome, type DmaTranslator, Machine, Msi } from '@iospace/machine'
import { type BlockStore, NvmeController, type NvmeOptions } from '../src/index.ts'

const FOUR_GIB = 0x1_0000_0000
export const PAGE = 4096
const BDF = 0x08
const VECTOR = 0x61

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

/** 4 MiB of RAM below the hole and 4 MiB above it. */
export const board = (seed = 1): Machine =>
  new Machine({ memory: { lowFrames: 1024, highFrames: 1024, boardBytes: 4 << 20 }, seed, turn })

/**
 * An IOMMU of one idea: bus addresses are physical addresses, except that ranges can be blocked, and that addresses from `translated`
 * up are translated: the offset above it is the physical address. Physical 2 MiB lies on a 4 GiB boundary of the bus.
 */
export class Gate implements DmaTranslator {
  static readonly translated = 2 ** 40 - 0x20_0000
  readonly #inner: DmaTranslator
  readonly blocked: { from: number; to: number }[] = []
  /** Bus addresses of transfers that came through here, with their length; those with a "w" were writes. */
  readonly log: string[] = []

  constructor(machine: Machine) {
    this.#inner = machine.pci.translator
    machine.pci.translator = this
  }

  /** Blocks the pages of [from, from + bytes). */
  block(from: number, bytes = PAGE): void {
    this.blocked.push({ from, to: from + bytes })
  }

  dmaRead(requester: number, hi: number, lo: number, at: number, length: number): number {
    return this.#pass('r', hi, lo, length, (h, l) => this.#inner.dmaRead(requester, h, l, at, length))
  }
  dmaWrite(requester: number, hi: number, lo: number, at: number, length: number): number {
    return this.#pass('w', hi, lo, length, (h, l) => this.#inner.dmaWrite(requester, h, l, at, length))
  }

  #pass(kind: string, hi: number, lo: number, length: number, move: (hi: number, lo: number) => number): number {
    const address = (hi >>> 0) * FOUR_GIB + (lo >>> 0)
    this.log.push(`${kind}${address.toString(16)}+${length}`)
    if (this.blocked.some(({ from, to }) => address < to && from < address + length)) return DmaOutcome.blocked
    const [physicalLow, physicalHigh] = split(physical(address))
    const outcome = move(physicalHigh, physicalLow)
    return outcome > 0 && address >= Gate.translated ? DmaOutcome.translated : outcome
  }
}

/** Where a bus address leads behind the {@link Gate}. */
const physical = (address: number): number => (address >= Gate.translated ? address - Gate.translated : address)
const split = (address: number): [number, number] => [address % FOUR_GIB, Math.floor(address / FOUR_GIB)]

/** A command: fields that are not given are 0. Addresses are bus addresses. */
export interface TestCommand {
  readonly opcode: number
  readonly flags?: number
  readonly cid?: number
  readonly nsid?: number
  readonly prp1?: number
  readonly prp2?: number
  readonly cdw10?: number
  readonly cdw11?: number
  readonly cdw12?: number
  readonly cdw13?: number
}

export interface Completion {
  readonly dw0: number
  readonly sqhd: number
  readonly sqid: number
  readonly cid: number
  /** Type and code: `type << 8 | code`. */
  readonly status: number
  readonly more: boolean
  readonly dnr: boolean
}

interface QueuePair {
  readonly sq: number
  readonly cq: number
  readonly sqSize: number
  readonly cqSize: number
  tail: number
  head: number
  phase: number
}

/** A driver that knows NVMe from the specification's offsets and touches only configuration space, registers and RAM. */
export class TestDriver {
  readonly machine: Machine
  readonly gate: Gate
  readonly device: NvmeController
  readonly bar: number
  readonly interrupts: number[] = []
  readonly #queues = new Map<number, QueuePair>()
  #nextCid = 1

  constructor(store: BlockStore, options: Partial<NvmeOptions> & { readonly seed?: number } = {}) {
    const { seed, ...rest } = options
    this.machine = board(seed)
    this.gate = new Gate(this.machine)
    this.device = new NvmeController({ machine: this.machine, store, ...rest })
    this.machine.pci.add(0, BDF, this.device)
    this.bar = this.machine.pci.barAddress(this.device, 0)
    this.machine.interrupts.handle(VECTOR, () => this.interrupts.push(this.machine.clock.now))
    this.plug()
  }

  /** Memory decoding, bus mastering and the MSI, after power-on or a function-level reset. */
  plug(): void {
    const { pci } = this.machine
    pci.configWrite(BDF, Config.bar0, 4, this.bar)
    pci.configWrite(BDF, Config.command, 2, Command.memory | Command.busMaster)
    const msi = this.capability(Capability.msi)
    pci.configWrite(BDF, msi + Msi.address, 4, 0xfee0_0000)
    pci.configWrite(BDF, msi + Msi.data, 2, VECTOR)
    pci.configWrite(BDF, msi + Msi.control, 2, Msi.enable)
  }

  capability(id: number): number {
    const { pci } = this.machine
    let at = pci.configRead(BDF, Config.capabilities, 1)
    while (at !== 0 && pci.configRead(BDF, at, 1) !== id) at = pci.configRead(BDF, at + 1, 1)
    return at
  }

  configWrite(offset: number, size: number, value: number): void {
    this.machine.pci.configWrite(BDF, offset, size, value)
  }

  read(offset: number): number {
    return this.machine.mmio.read32(this.bar + offset)
  }
  write(offset: number, value: number): void {
    this.machine.mmio.write32(this.bar + offset, value)
  }

  get csts(): number {
    return this.read(0x1c)
  }

  /** Lets hardware run until nothing is scheduled. */
  settle(): void {
    while (this.machine.clock.advance());
  }

  /** Admin queues at 0x1000 and 0x2000, or where `admin` says; waits for CSTS.RDY or CSTS.CFS. */
  enable({ entries = 16, cc = 0x00460001, admin = 0x1000 } = {}): void {
    const [sq, cq] = [admin, admin + PAGE]
    this.machine.memory.fill(this.offset(cq), 0, PAGE)
    this.write(0x24, ((entries - 1) << 16) | (entries - 1))
    this.write(0x28, split(sq)[0])
    this.write(0x2c, split(sq)[1])
    this.write(0x30, split(cq)[0])
    this.write(0x34, split(cq)[1])
    this.write(0x14, cc)
    this.#queues.clear()
    this.track(0, sq, cq, entries, entries)
    this.settle()
  }

  /** Clears CC.EN and waits. */
  disable(): void {
    this.write(0x14, this.read(0x14) & ~1)
    this.settle()
  }

  /** Tells the driver where a queue pair is. */
  track(id: number, sq: number, cq: number, sqSize: number, cqSize: number): void {
    this.#queues.set(id, { sq, cq, sqSize, cqSize, tail: 0, head: 0, phase: 1 })
  }

  /** Creates completion and submission queue `id` at bus addresses `cq` and `sq`. */
  createQueues(id: number, { sq, cq, entries = 16, cqEntries = entries, interrupts = true }: QueueSpec): void {
    this.machine.memory.fill(this.offset(cq), 0, PAGE)
    const size = (count: number) => ((count - 1) << 16) | id
    this.expectSuccess(this.admin({ opcode: 0x05, prp1: cq, cdw10: size(cqEntries), cdw11: interrupts ? 3 : 1 }))
    this.expectSuccess(this.admin({ opcode: 0x01, prp1: sq, cdw10: size(entries), cdw11: (id << 16) | 1 }))
    this.track(id, sq, cq, entries, cqEntries)
  }

  /** An enabled controller with I/O queue pair 1 at 0x4000 and 0x5000. */
  start(entries = 16): this {
    this.enable()
    this.createQueues(1, { sq: 0x4000, cq: 0x5000, entries })
    return this
  }

  /** Byte offset in the flat memory of a bus address of the {@link Gate}. */
  offset(address: number): number {
    const [lo, hi] = split(physical(address))
    return this.machine.memory.offset(hi, lo)
  }

  bytes(address: number, length: number): Uint8Array {
    const at = this.offset(address)
    return this.machine.memory.bytes.subarray(at, at + length)
  }

  /** Writes an entry at the tail of queue `id`; the device does not know yet. Returns the command identifier. */
  put(id: number, command: TestCommand): number {
    const queue = this.#queues.get(id)!
    const { view } = this.machine.memory
    const at = this.offset(queue.sq + 64 * queue.tail)
    const cid = command.cid ?? this.#nextCid++
    this.machine.memory.fill(at, 0, 64)
    view.setUint32(at, (command.opcode | ((command.flags ?? 0) << 8) | (cid << 16)) >>> 0, true)
    view.setUint32(at + 4, command.nsid ?? 0, true)
    for (const [offset, address = 0] of [
      [24, command.prp1],
      [32, command.prp2],
    ] as const) {
      view.setUint32(at + offset, split(address)[0], true)
      view.setUint32(at + offset + 4, split(address)[1], true)
    }
    ;[command.cdw10, command.cdw11, command.cdw12, command.cdw13].forEach((value, i) =>
      view.setUint32(at + 40 + 4 * i, value ?? 0, true),
    )
    queue.tail = (queue.tail + 1) % queue.sqSize
    return cid
  }

  /** Rings the submission doorbell of queue `id`. */
  ring(id: number): void {
    this.write(0x1000 + 8 * id, this.#queues.get(id)!.tail)
  }

  /** Completions that the host has not seen, in order; tells the device unless `acknowledge` is false. */
  reap(id: number, acknowledge = true): Completion[] {
    const queue = this.#queues.get(id)!
    const { view } = this.machine.memory
    const result: Completion[] = []
    for (;;) {
      const at = this.offset(queue.cq + 16 * queue.head)
      const status = view.getUint16(at + 14, true)
      if ((status & 1) !== queue.phase) break
      result.push({
        dw0: view.getUint32(at, true),
        sqhd: view.getUint16(at + 8, true),
        sqid: view.getUint16(at + 10, true),
        cid: view.getUint16(at + 12, true),
        status: (status >> 1) & 0x7ff,
        more: (status & 0x4000) !== 0,
        dnr: (status & 0x8000) !== 0,
      })
      queue.head = (queue.head + 1) % queue.cqSize
      if (queue.head === 0) queue.phase ^= 1
    }
    if (acknowledge && result.length > 0) this.acknowledge(id)
    return result
  }

  /** Rings the completion doorbell of queue `id`. */
  acknowledge(id: number): void {
    this.write(0x1000 + 8 * id + 4, this.#queues.get(id)!.head)
  }

  /** One command from submission to completion. */
  run(id: number, command: TestCommand): Completion {
    const cid = this.put(id, command)
    this.ring(id)
    for (;;) {
      const found = this.reap(id).find((completion) => completion.cid === cid)
      if (found !== undefined) return found
      if (!this.machine.clock.advance()) throw new Error(`command ${cid} never completes`)
    }
  }

  admin(command: TestCommand): Completion {
    return this.run(0, command)
  }

  /** Reads (or writes) `blocks` blocks at `block` through the given PRPs. */
  transfer(opcode: 1 | 2, block: number, blocks: number, prp1: number, prp2 = 0, id = 1): Completion {
    const [low, high] = split(block)
    return this.run(id, { opcode, nsid: 1, prp1, prp2, cdw10: low, cdw11: high, cdw12: blocks - 1 })
  }

  expectSuccess(completion: Completion): void {
    if (completion.status !== 0) throw new Error(`status ${completion.status.toString(16)}`)
  }
}

interface QueueSpec {
  readonly sq: number
  readonly cq: number
  readonly entries?: number
  readonly cqEntries?: number
  readonly interrupts?: boolean
}

/** Bytes that differ from place to place. */
export const pattern = (length: number, seed = 1): Uint8Array => {
  const bytes = new Uint8Array(length)
  let state = seed | 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    bytes[i] = state >>> 24
  }
  return bytes
}
