/** An NVMe controller: reset, admin commands, I/O queues, shutdown (NVMe 1.4 sections 7.6.1 and 7.6.2). */
import { Errno } from '@iospace/abi'
import { Command, Config as PciConfig, type WaitQueue } from '@iospace/machine'
import type { CoherentBuffer } from '../../dma/backend.ts'
import type { DmaApi } from '../../dma/dma-api.ts'
import type { Kernel } from '../../kernel.ts'
import type { PciDevice, Registers } from '../../pci/pci-device.ts'
import { QueuePair } from './queue-pair.ts'
import {
  AdminOp,
  Cap,
  Cns,
  Config,
  CreateQueue,
  FEATURE_QUEUES,
  IDENTIFY_BYTES,
  Register,
  Sqe,
  Status,
} from './spec.ts'

const ADMIN_DEPTH = 32
const POLL_INTERVAL = 100e3
const ADMIN_TIMEOUT = 60e9
const SHUTDOWN_TIMEOUT = 5e9

/** An admin command under way. */
interface AdminCommand {
  status: number
  result: number
  done: boolean
  readonly queue: WaitQueue
}

/** Fields of an admin command; words that are left out are 0. */
export interface AdminFields {
  readonly opcode: number
  readonly namespace?: number
  readonly data?: CoherentBuffer
  readonly cdw10?: number
  readonly cdw11?: number
}

export class NvmeController {
  readonly kernel: Kernel
  readonly device: PciDevice
  readonly dma: DmaApi
  readonly registers: Registers
  /** Entries of the largest I/O queue. */
  readonly maxEntries: number
  readonly #doorbellStride: number
  readonly #readyTimeout: number
  readonly #admin: (AdminCommand | null)[] = []
  #adminQueue: QueuePair | null = null
  #stopped = false
  /** The controller did not answer or said that it failed: nothing is sent any more. */
  failed = false

  constructor(device: PciDevice) {
    this.kernel = device.kernel
    this.device = device
    this.dma = device.dma
    this.registers = device.bar(0)
    const low = this.registers.read32(Register.capLow)
    const high = this.registers.read32(Register.capHigh)
    this.maxEntries = Cap.maxQueueEntries(low)
    this.#doorbellStride = Cap.doorbellStride(high)
    this.#readyTimeout = Math.max(Cap.timeout(low), 500e6)
  }

  /** Resets the controller and starts it with an admin queue. 0, −ENODEV, −ENOMEM, −ETIMEDOUT. */
  async start(): Promise<number> {
    const { registers } = this
    const stopped = await this.disable()
    if (stopped !== 0) return stopped
    const queue = QueuePair.create(this.dma, registers, 0, ADMIN_DEPTH, this.#doorbellStride)
    if (queue === null) return -Errno.ENOMEM
    this.#adminQueue = queue
    registers.write32(Register.adminAttributes, (ADMIN_DEPTH - 1) | ((ADMIN_DEPTH - 1) << 16))
    write64(registers, Register.adminSubmissionLow, queue.submissions.address)
    write64(registers, Register.adminCompletionLow, queue.completions.address)
    registers.write32(Register.config, Config.enable | Config.entrySizes)
    return this.#waitFor(Status.ready, Status.ready, this.#readyTimeout)
  }

  /** Stops the controller. 0 when it is not ready any more: then it does no DMA. */
  async disable(): Promise<number> {
    const config = this.registers.read32(Register.config)
    this.registers.write32(Register.config, config & ~(Config.enable | Config.shutdownMask))
    return this.#waitFor(Status.ready, 0, this.#readyTimeout)
  }

  /** A normal shutdown: the medium's caches are safe afterwards. Then stops it. No effect the second time. */
  async shutDown(): Promise<void> {
    const { registers } = this
    if (this.#stopped) return
    this.#stopped = true
    if (!this.failed) {
      const config = registers.read32(Register.config)
      registers.write32(Register.config, (config & ~Config.shutdownMask) | Config.shutdownNormal)
      await this.#waitFor(Status.shutdownMask, Status.shutdownComplete, SHUTDOWN_TIMEOUT)
    }
    await this.quiesce()
  }

  /** Makes sure that the controller does no DMA any more: stops it, or takes the bus from it if it does not answer. */
  async quiesce(): Promise<void> {
    if ((await this.disable()) !== 0)
      this.device.configWrite(PciConfig.command, 2, this.device.configRead(PciConfig.command, 2) & ~Command.busMaster)
  }

  /** Gives the admin queue's memory back. Only once the controller is stopped. */
  free(): void {
    this.#adminQueue?.free()
    this.#adminQueue = null
  }

  /** Sends an admin command and waits. Its NVMe status (0: success) or −ETIMEDOUT, −EIO; tasks only. */
  async command(fields: AdminFields): Promise<{ readonly status: number; readonly result: number }> {
    const queue = this.#adminQueue
    let id = 0
    while (this.#admin[id] !== undefined && this.#admin[id] !== null) id++
    if (queue === null || this.failed || id >= ADMIN_DEPTH - 1) return { status: -Errno.EIO, result: 0 }
    const command: AdminCommand = {
      status: 0,
      result: 0,
      done: false,
      queue: this.kernel.queue('an NVMe admin command'),
    }
    this.#admin[id] = command
    const { words } = this.kernel.platform.memory
    const at = queue.push()
    words[at + Sqe.command] = fields.opcode | (id << 16)
    words[at + Sqe.namespace] = fields.namespace ?? 0
    const address = fields.data?.address ?? 0
    words[at + Sqe.prp1] = address | 0
    words[at + Sqe.prp1 + 1] = Math.floor(address / 0x1_0000_0000)
    words[at + Sqe.cdw10] = fields.cdw10 ?? 0
    words[at + Sqe.cdw11] = fields.cdw11 ?? 0
    queue.ring()
    while (!command.done) {
      if (await command.queue.waitAtMost(ADMIN_TIMEOUT)) continue
      this.failed = true
      return { status: -Errno.ETIMEDOUT, result: 0 }
    }
    this.#admin[id] = null
    return command
  }

  /** {@link command} for an Identify; its data (to be freed by the caller) or −errno. */
  async identify(structure: number, namespace: number): Promise<CoherentBuffer | number> {
    const data = this.dma.allocateCoherent(IDENTIFY_BYTES)
    if (data === null) return -Errno.ENOMEM
    const { status } = await this.command({ opcode: AdminOp.identify, namespace, data, cdw10: structure })
    if (status === 0) return data
    // A controller that did not answer may still write there.
    if (status > 0) this.dma.freeCoherent(data)
    return status < 0 ? status : -Errno.EIO
  }

  /** The numbers of the active namespaces, the first 1024; or −errno. */
  async namespaces(): Promise<number[] | number> {
    const data = await this.identify(Cns.activeNamespaces, 0)
    if (typeof data === 'number') return data
    const ids: number[] = []
    for (let at = 0; at < IDENTIFY_BYTES; at += 4) {
      const id = data.buffer.read32(at)
      if (id === 0) break
      ids.push(id)
    }
    this.dma.freeCoherent(data)
    return ids
  }

  /** Creates I/O queue pair 1 with an interrupt. The pair, or −errno. */
  async createQueuePair(depth: number): Promise<QueuePair | number> {
    const id = 1
    const { status } = await this.command({ opcode: AdminOp.setFeatures, cdw10: FEATURE_QUEUES, cdw11: 0 })
    if (status !== 0) return -Errno.EIO
    const queue = QueuePair.create(this.dma, this.registers, id, depth, this.#doorbellStride)
    if (queue === null) return -Errno.ENOMEM
    const cdw10 = id | ((depth - 1) << 16)
    const completion = await this.command({
      opcode: AdminOp.createCompletionQueue,
      data: queue.completions,
      cdw10,
      cdw11: CreateQueue.contiguous | CreateQueue.interrupts,
    })
    const submission =
      completion.status === 0
        ? await this.command({
            opcode: AdminOp.createSubmissionQueue,
            data: queue.submissions,
            cdw10,
            cdw11: CreateQueue.contiguous | (id << 16),
          })
        : completion
    if (submission.status === 0) return queue
    // After a time-out the controller may have it: then it stays allocated until the controller is stopped.
    if (submission.status > 0) queue.free()
    return submission.status < 0 ? submission.status : -Errno.EIO
  }

  /** Takes completions of the admin queue; called from the interrupt. */
  poll(): void {
    this.#adminQueue?.poll(this.#onCompletion)
  }

  readonly #onCompletion = (id: number, status: number, result: number): void => {
    const command = this.#admin[id]
    if (command === undefined || command === null) return
    command.status = status
    command.result = result
    command.done = true
    command.queue.wake()
  }

  async #waitFor(mask: number, wanted: number, timeout: number): Promise<number> {
    const { kernel, registers } = this
    for (const end = kernel.now() + timeout; ; await kernel.sleep(POLL_INTERVAL)) {
      const status = registers.read32(Register.status)
      if (status === 0xffff_ffff) return -Errno.ENODEV
      if ((status & mask) === wanted) return 0
      if (kernel.now() > end) return -Errno.ETIMEDOUT
    }
  }
}

// 64-bit registers take two 32-bit writes, the low half first (NVMe 1.4 section 3.1).
function write64(registers: Registers, offset: number, value: number): void {
  registers.write32(offset, value % 0x1_0000_0000)
  registers.write32(offset + 4, Math.floor(value / 0x1_0000_0000))
}
