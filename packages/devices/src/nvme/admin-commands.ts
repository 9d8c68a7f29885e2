/** Admin commands (NVMe 1.4 section 5). Queue management is in `queue-commands.ts`. */
import type { MachineMemory } from '@iospace/machine'
import type { Command } from './command.ts'
import type { NvmeDma } from './dma.ts'
import type { Engine } from './engine.ts'
import type { ErrorLog } from './error-log.ts'
import { type Events, MAX_EVENT_REQUESTS } from './events.ts'
import type { Features } from './features.ts'
import { identify, IDENTIFY_BYTES, type Identity } from './identify.ts'
import type { IoCommands } from './io-commands.ts'
import { logRequest, writeLog } from './log-pages.ts'
import type { PrpData } from './prp.ts'
import { QueueCommands } from './queue-commands.ts'
import { AdminOpcode, CDW0_UNSUPPORTED, Sqe } from './spec/commands.ts'
import { HELD, Status } from './spec/status.ts'

export interface AdminParts {
  readonly memory: MachineMemory
  readonly dma: NvmeDma
  readonly prp: PrpData
  readonly engine: Engine
  readonly io: IoCommands
  readonly features: Features
  readonly events: Events
  readonly errors: ErrorLog
  readonly identity: Identity
  /** Board memory for one command's data and a page more. */
  readonly dataAt: number
  /** CC as the host wrote it last. */
  readonly configuration: () => number
}

export class AdminCommands {
  /** Commands carried out, by opcode. */
  readonly counts = new Uint32Array(256)
  readonly #parts: AdminParts
  readonly #queues: QueueCommands

  constructor(parts: AdminParts) {
    this.#parts = parts
    this.#queues = new QueueCommands(parts)
  }

  /** Carries out `command`; returns its status, or HELD. */
  execute(command: Command): number {
    const { words } = this.#parts.memory
    const { sqe } = command
    const cdw0 = words[sqe + Sqe.cdw0]!
    const opcode = cdw0 & 0xff
    this.counts[opcode]!++
    if ((cdw0 & CDW0_UNSUPPORTED) !== 0) return Status.invalidField
    switch (opcode) {
      case AdminOpcode.deleteSubmissionQueue:
        return this.#queues.deleteSubmissionQueue(sqe)
      case AdminOpcode.createSubmissionQueue:
        return this.#queues.createSubmissionQueue(sqe)
      case AdminOpcode.getLogPage:
        return this.#getLogPage(sqe)
      case AdminOpcode.deleteCompletionQueue:
        return this.#queues.deleteCompletionQueue(sqe)
      case AdminOpcode.createCompletionQueue:
        return this.#queues.createCompletionQueue(sqe)
      case AdminOpcode.identify:
        return this.#identify(sqe)
      case AdminOpcode.abort:
        return this.#abort(command)
      case AdminOpcode.setFeatures:
        return this.#setFeatures(command)
      case AdminOpcode.getFeatures:
        return this.#getFeatures(command)
      case AdminOpcode.asynchronousEventRequest:
        return this.#requestEvent(command)
      default:
        return Status.invalidOpcode
    }
  }

  #identify(sqe: number): number {
    const { memory, prp, dma, identity, dataAt } = this.#parts
    memory.fill(dataAt, 0, IDENTIFY_BYTES)
    const cns = memory.words[sqe + Sqe.cdw10]! & 0xff
    const status = identify(identity, cns, memory.words[sqe + Sqe.nsid]! >>> 0, memory.view, dataAt)
    if (status !== Status.success) return status
    const resolved = prp.resolve(sqe, IDENTIFY_BYTES)
    return resolved === Status.success ? prp.deliver(dataAt, dma.control) : resolved
  }

  #getLogPage(sqe: number): number {
    const { memory, prp, dma, io, errors, events, dataAt } = this.#parts
    const request = logRequest(memory, sqe)
    if (typeof request === 'number') return request
    const { id, offset, length, retainEvent } = request
    const resolved = prp.resolve(sqe, length)
    if (resolved !== Status.success) return resolved
    memory.fill(dataAt, 0, offset + length)
    writeLog(id, memory.view, dataAt, io, errors)
    const status = prp.deliver(dataAt + offset, dma.control)
    if (status === Status.success && !retainEvent) events.acknowledged(id)
    return status
  }

  /** cdw10: submission queue 15:0, command 31:16. dw0 bit 0 is set when nothing was aborted (5.1). */
  #abort(command: Command): number {
    const { memory, engine } = this.#parts
    const cdw10 = memory.words[command.sqe + Sqe.cdw10]!
    const victim = engine.find(cdw10 & 0xffff, cdw10 >>> 16, command)
    command.result = victim === undefined ? 1 : 0
    if (victim !== undefined) engine.complete(victim, Status.abortRequested)
    return Status.success
  }

  #setFeatures(command: Command): number {
    const { memory, features } = this.#parts
    const { words } = memory
    const { sqe } = command
    const cdw10 = words[sqe + Sqe.cdw10]!
    const status = features.set(cdw10, words[sqe + Sqe.cdw11]!, words[sqe + Sqe.nsid]! >>> 0)
    if (status === Status.success && (cdw10 & 0xff) === 7) command.result = features.get(cdw10, 0)
    return status
  }

  #getFeatures(command: Command): number {
    const { memory, features } = this.#parts
    const value = features.get(memory.words[command.sqe + Sqe.cdw10]!, memory.words[command.sqe + Sqe.cdw11]!)
    if (value < 0) return Status.invalidField
    command.result = value
    return Status.success
  }

  #requestEvent(command: Command): number {
    const { engine, events } = this.#parts
    if (engine.held().length >= MAX_EVENT_REQUESTS) return Status.eventRequestLimitExceeded
    const event = events.take()
    if (event < 0) return HELD
    command.result = event
    return Status.success
  }
}
