/**
 * An NVMe controller (NVM Express 1.4) with one namespace of 512-byte blocks over a {@link BlockStore}: registers, doorbells, and the
 * handshakes of enable, reset and shutdown (3.1, 7.6). Commands live in `engine.ts`.
 */
import { type Machine, type MmioDevice, PciFunction, type Random } from '@iospace/machine'
import { ConfigError } from '@iospace/wire'
import { type BlockStore, StoreStatus } from '../block-store.ts'
import { IOSPACE_VENDOR, NVME_DEVICE } from '../ids.ts'
import { AdminCommands } from './admin-commands.ts'
import { type DmaBooks, NvmeDma } from './dma.ts'
import { Engine } from './engine.ts'
import { ErrorLog } from './error-log.ts'
import { ErrorEvent, Events } from './events.ts'
import { Features } from './features.ts'
import { InterruptLine } from './interrupt-line.ts'
import { IoCommands } from './io-commands.ts'
import { earlyFlash, type NvmeLatency } from './latency.ts'
import { PrpData } from './prp.ts'
import { CompletionQueue, SubmissionQueue } from './queues.ts'
import { MAX_TRANSFER, PAGE } from './spec/commands.ts'
import { BAR_BYTES, CAP_HIGH, CAP_LOW, Cc, Csts, Register, VERSION } from './spec/registers.ts'
import { Status } from './spec/status.ts'

/** Mass storage, non-volatile memory, NVM Express (PCI class 01 08 02). */
const CLASS = 0x010802
/** Bits of ASQ and ACQ that exist: page addresses. */
const PAGE_MASK = ~(PAGE - 1)

/** Board memory that one controller takes, the page for its interrupt messages included. */
export const NVME_BOARD_BYTES = MAX_TRANSFER + 9 * PAGE

export interface NvmeOptions {
  readonly machine: Machine
  readonly store: BlockStore
  /** Source of the latencies' jitter; the machine's own seed by default. */
  readonly random?: Random
  /** Up to 20 printable ASCII characters; from the source of jitter by default, so that no two disks share one. */
  readonly serial?: string
  /** I/O queues of each kind, 1 to 64. */
  readonly ioQueues?: number
  readonly latency?: NvmeLatency
}

/** What a controller has done since power-on; resets do not clear it. */
export interface NvmeCounters {
  /** Blocks moved by read and write commands. */
  readonly payload: DmaBooks
  /** Queue entries, PRP lists, identify data, log pages. */
  readonly control: DmaBooks
  /** Commands carried out, by opcode. */
  readonly adminCommands: Uint32Array
  readonly ioCommands: Uint32Array
}

export class NvmeController extends PciFunction implements MmioDevice {
  readonly store: BlockStore
  readonly counters: NvmeCounters
  readonly #engine: Engine
  readonly #features: Features
  readonly #events: Events
  readonly #errors = new ErrorLog()
  readonly #interrupts: InterruptLine
  readonly #transition: { start(delay: number): void; cancel(): void }
  readonly #transitionTime: number
  #cc = 0
  #csts = 0
  #aqa = 0
  /** CC.EN was cleared, and CSTS.RDY has not followed yet. */
  #resetting = false
  /** ASQ and ACQ: low, high, low, high. */
  readonly #bases = new Int32Array(4)

  constructor({ machine, store, random, serial: given, ioQueues = 8, latency = earlyFlash }: NvmeOptions) {
    const chance = random ?? machine.random.fork()
    const serial = given ?? `IO${chance.next().toString(16).padStart(8, '0')}`
    if (!Number.isInteger(ioQueues) || ioQueues < 1 || ioQueues > 64)
      throw new ConfigError('nvme.ioQueues', ioQueues, 'is not a number of queues from 1 to 64')
    if (!/^[\x21-\x7e]{1,20}$/.test(serial))
      throw new ConfigError('nvme.serial', serial, 'is not 1 to 20 printable ASCII characters')
    const registers: { target: MmioDevice | null } = { target: null }
    super({
      vendorId: IOSPACE_VENDOR,
      deviceId: NVME_DEVICE,
      classCode: CLASS,
      bars: [
        {
          index: 0,
          bytes: BAR_BYTES,
          wide: true,
          registers: {
            read32: (offset) => registers.target!.read32(offset),
            write32: (offset, value) => registers.target!.write32(offset, value),
          },
        },
      ],
      msi: true,
      express: { functionReset: true },
    })
    registers.target = this
    this.store = store
    const { clock, memory } = machine
    const dma = new NvmeDma(this)
    const prp = new PrpData(memory, dma)
    const dataAt = memory.boardMemory(MAX_TRANSFER + PAGE)
    this.#interrupts = new InterruptLine(this)
    this.#features = new Features(ioQueues, () => this.#hasIoQueues())
    const io = new IoCommands({ memory, store, dma, prp, latency, dataAt, writeCache: () => this.#features.writeCache })
    this.#engine = new Engine({
      clock,
      memory,
      random: chance,
      dma,
      interrupts: this.#interrupts,
      errors: this.#errors,
      latency,
      ioQueues,
      execute: (command) => (command.queue!.id === 0 ? admin.execute(command) : io.execute(command)),
      payloadOf: (command) => (command.queue!.id === 0 ? 0 : io.payloadOf(command)),
      extraTimeOf: (command) => (command.queue!.id === 0 ? 0 : io.extraTimeOf(command)),
      onFatal: () => (this.#csts |= Csts.fatal),
    })
    this.#events = new Events(this.#engine)
    const admin = new AdminCommands({
      memory,
      dma,
      prp,
      engine: this.#engine,
      io,
      features: this.#features,
      events: this.#events,
      errors: this.#errors,
      identity: { serial, blocks: io.blocks, readOnly: store.readOnly },
      dataAt,
      configuration: () => this.#cc,
    })
    this.#transition = clock.timer(() => this.#settle())
    this.#transitionTime = latency.transition
    this.counters = { payload: dma.payload, control: dma.control, adminCommands: admin.counts, ioCommands: io.counts }
  }

  read32(offset: number): number {
    switch (offset) {
      case Register.cap:
        return CAP_LOW
      case Register.cap + 4:
        return CAP_HIGH
      case Register.vs:
        return VERSION
      case Register.intms:
      case Register.intmc:
        return this.#interrupts.mask
      case Register.cc:
        return this.#cc
      case Register.csts:
        return this.#csts
      case Register.aqa:
        return this.#aqa
      case Register.asq:
      case Register.asq + 4:
      case Register.acq:
      case Register.acq + 4:
        return this.#bases[(offset - Register.asq) >>> 2]!
      default:
        return 0
    }
  }

  write32(offset: number, value: number): void {
    if (offset >= Register.doorbells) {
      this.#doorbell((offset - Register.doorbells) >>> 2, value)
      return
    }
    switch (offset) {
      case Register.intms:
        this.#interrupts.maskBits(value)
        return
      case Register.intmc:
        this.#interrupts.unmaskBits(value)
        return
      case Register.cc:
        this.#configure(value & Cc.writable)
        return
      case Register.aqa:
        this.#aqa = value & 0x0fff_0fff
        return
      case Register.asq:
      case Register.acq:
        this.#bases[(offset - Register.asq) >>> 2] = value & PAGE_MASK
        return
      case Register.asq + 4:
      case Register.acq + 4:
        this.#bases[(offset - Register.asq) >>> 2] = value
    }
  }

  protected override onReset(): void {
    this.#controllerReset()
    this.#transition.cancel()
    this.#resetting = false
    this.#cc = 0
    this.#csts = 0
    this.#aqa = 0
    this.#bases.fill(0)
  }

  #configure(value: number): void {
    const changed = this.#cc ^ value
    this.#cc = value
    if ((changed & Cc.enable) !== 0) {
      // A controller reset drops every queue and command at once; ready follows later (7.3.2, 7.6).
      if ((value & Cc.enable) === 0) {
        this.#controllerReset()
        this.#resetting = true
      }
      this.#transition.start(this.#transitionTime)
    } else if ((changed & Cc.shn) !== 0 && (value & Cc.shn) !== 0) {
      this.#csts = (this.#csts & ~Csts.shst) | Csts.shutdownProcessing
      this.#transition.start(this.#transitionTime)
    }
  }

  /** The end of a transition: ready, not ready, or shut down. */
  #settle(): void {
    if (this.#resetting) {
      this.#resetting = false
      this.#csts = 0
    }
    if ((this.#csts & Csts.shst) === Csts.shutdownProcessing) this.#shutDown()
    else if ((this.#cc & Cc.enable) !== 0 && (this.#csts & (Csts.ready | Csts.fatal)) === 0) this.#start()
  }

  #start(): void {
    const submissionEntries = (this.#aqa & 0xfff) + 1
    const completionEntries = ((this.#aqa >>> 16) & 0xfff) + 1
    const unsupported = this.#cc & (Cc.css | Cc.mps | Cc.ams)
    if (submissionEntries < 2 || completionEntries < 2 || unsupported !== 0) {
      this.#csts |= Csts.fatal
      return
    }
    const [submissionLow, submissionHigh, completionLow, completionHigh] = this.#bases
    const completions = new CompletionQueue(0, completionHigh!, completionLow!, completionEntries, true)
    this.#engine.completions[0] = completions
    this.#engine.submissions[0] = new SubmissionQueue(
      0,
      submissionHigh!,
      submissionLow!,
      submissionEntries,
      completions,
    )
    this.#csts = Csts.ready
  }

  #shutDown(): void {
    this.#engine.stop()
    if (this.store.flush() !== StoreStatus.ok) this.#csts |= Csts.fatal
    this.#csts = (this.#csts & ~Csts.shst) | Csts.shutdownComplete
  }

  #controllerReset(): void {
    this.#engine.stop()
    this.#interrupts.reset()
    this.#features.reset()
    this.#events.reset()
    this.#errors.reset()
  }

  #hasIoQueues(): boolean {
    return this.#engine.completions.some((queue) => queue !== undefined && queue.id !== 0)
  }

  #doorbell(index: number, value: number): void {
    if ((this.#csts & (Csts.ready | Csts.fatal | Csts.shst)) !== Csts.ready) return
    if ((index & 1) === 0) {
      const queue = this.#engine.submissions[index >>> 1]
      if (queue === undefined) this.#badDoorbell(index >>> 1, ErrorEvent.invalidDoorbellRegister)
      else if (!this.#movesTail(queue, value)) this.#badDoorbell(queue.id, ErrorEvent.invalidDoorbellValue)
      else {
        queue.tail = value
        this.#engine.submitted()
      }
    } else {
      const queue = this.#engine.completions[index >>> 1]
      if (queue === undefined) this.#badDoorbell(index >>> 1, ErrorEvent.invalidDoorbellRegister)
      else if (!this.#movesHead(queue, value)) this.#badDoorbell(queue.id, ErrorEvent.invalidDoorbellValue)
      else this.#engine.consumed(queue, value)
    }
  }

  /** New entries must leave one entry free; writing the same value again is an error too (5.2, figure 147). */
  #movesTail(queue: SubmissionQueue, tail: number): boolean {
    return tail < queue.size && tail !== queue.tail && queue.used + queue.distance(queue.tail, tail) < queue.size
  }

  /** The host consumes entries that were posted, at least one. */
  #movesHead(queue: CompletionQueue, head: number): boolean {
    return head < queue.size && head !== queue.head && queue.distance(queue.head, head) <= queue.used
  }

  #badDoorbell(queue: number, information: number): void {
    this.#errors.add(queue, 0xffff, Status.success, 0, 0n)
    this.#events.report(information)
  }
}
