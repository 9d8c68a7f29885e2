/** Creation and deletion of I/O queues (NVMe 1.4 sections 5.3 to 5.6), with the checks in the order of the specification's text. */
import type { MachineMemory } from '@iospace/machine'
import type { Engine } from './engine.ts'
import type { Features } from './features.ts'
import { CompletionQueue, SubmissionQueue } from './queues.ts'
import { CQE_BYTES, SQE_BYTES, Sqe } from './spec/commands.ts'
import { Cc, MAX_QUEUE_ENTRIES } from './spec/registers.ts'
import { Status } from './spec/status.ts'

/** cdw11 of both create commands: PC, physically contiguous. */
const CONTIGUOUS = 1
/** cdw11 of Create I/O Completion Queue: IEN, interrupts enabled. */
const INTERRUPTS = 2

export interface QueueParts {
  readonly memory: MachineMemory
  readonly engine: Engine
  readonly features: Features
  readonly configuration: () => number
}

export class QueueCommands {
  readonly #parts: QueueParts

  constructor(parts: QueueParts) {
    this.#parts = parts
  }

  createCompletionQueue(sqe: number): number {
    const { memory, engine, features, configuration } = this.#parts
    const { words } = memory
    const cdw11 = words[sqe + Sqe.cdw11]!
    const { id, entries, hi, lo } = this.#request(sqe)
    if (id === 0 || id > features.completionQueues || engine.completions[id] !== undefined)
      return Status.invalidQueueIdentifier
    const entryBytes = 1 << ((configuration() >>> Cc.iocqesShift) & 0xf)
    if (entries < 2 || entries > MAX_QUEUE_ENTRIES || entryBytes !== CQE_BYTES) return Status.invalidQueueSize
    if ((cdw11 & CONTIGUOUS) === 0) return Status.invalidField
    // One vector exists: number 0.
    if (cdw11 >>> 16 !== 0) return Status.invalidInterruptVector
    if ((lo & 0xfff) !== 0) return Status.prpOffsetInvalid
    engine.completions[id] = new CompletionQueue(id, hi, lo, entries, (cdw11 & INTERRUPTS) !== 0)
    return Status.success
  }

  createSubmissionQueue(sqe: number): number {
    const { memory, engine, features, configuration } = this.#parts
    const { words } = memory
    const cdw11 = words[sqe + Sqe.cdw11]!
    const { id, entries, hi, lo } = this.#request(sqe)
    if (id === 0 || id > features.submissionQueues || engine.submissions[id] !== undefined)
      return Status.invalidQueueIdentifier
    const entryBytes = 1 << ((configuration() >>> Cc.iosqesShift) & 0xf)
    if (entries < 2 || entries > MAX_QUEUE_ENTRIES || entryBytes !== SQE_BYTES) return Status.invalidQueueSize
    if ((cdw11 & CONTIGUOUS) === 0) return Status.invalidField
    const completionId = cdw11 >>> 16
    if (completionId === 0 || completionId >= engine.completions.length) return Status.invalidQueueIdentifier
    const completions = engine.completions[completionId]
    if (completions === undefined) return Status.completionQueueInvalid
    if ((lo & 0xfff) !== 0) return Status.prpOffsetInvalid
    engine.submissions[id] = new SubmissionQueue(id, hi, lo, entries, completions)
    completions.users++
    return Status.success
  }

  /** Commands of the queue that are still under way are completed as aborted first. */
  deleteSubmissionQueue(sqe: number): number {
    const { engine } = this.#parts
    const { id } = this.#request(sqe)
    const queue = id === 0 ? undefined : engine.submissions[id]
    if (queue === undefined) return Status.invalidQueueIdentifier
    engine.deleteSubmissions(queue)
    return Status.success
  }

  deleteCompletionQueue(sqe: number): number {
    const { engine } = this.#parts
    const { id } = this.#request(sqe)
    const queue = id === 0 ? undefined : engine.completions[id]
    if (queue === undefined) return Status.invalidQueueIdentifier
    if (queue.users > 0) return Status.invalidQueueDeletion
    engine.deleteCompletions(queue)
    return Status.success
  }

  /** cdw10: identifier 15:0, entries − 1 in 31:16. PRP1: base. */
  #request(sqe: number): { id: number; entries: number; hi: number; lo: number } {
    const { words } = this.#parts.memory
    const cdw10 = words[sqe + Sqe.cdw10]!
    return {
      id: cdw10 & 0xffff,
      entries: (cdw10 >>> 16) + 1,
      hi: words[sqe + Sqe.prp1 + 1]!,
      lo: words[sqe + Sqe.prp1]!,
    }
  }
}
