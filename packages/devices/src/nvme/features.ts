/** Get and Set Features (NVMe 1.4 sections 5.9, 5.21): the current values; saved values are not supported. */
import { ALL_NAMESPACES } from './spec/commands.ts'
import { Feature, features } from './spec/features.ts'
import { Status } from './spec/status.ts'

/** SV in cdw10 of Set Features. */
const SAVE = 0x8000_0000 | 0
/** cdw11 of Temperature Threshold: THSEL 21:20 and TMPSEL 19:16; 0 selects the composite temperature's upper threshold. */
const THRESHOLD_SELECT = 0x3f_0000
/** cdw11 15:0 of Interrupt Vector Configuration: the vector, of which there is one. */
const VECTOR = 0xffff

export class Features {
  readonly #values = new Map<number, number>()
  readonly #ioQueues: number
  readonly #hasIoQueues: () => boolean
  /** I/O queues of each kind that the host may create. */
  #allocated: readonly [submissions: number, completions: number]

  constructor(ioQueues: number, hasIoQueues: () => boolean) {
    this.#ioQueues = ioQueues
    this.#hasIoQueues = hasIoQueues
    this.#allocated = [ioQueues, ioQueues]
    this.reset()
  }

  get submissionQueues(): number {
    return this.#allocated[0]
  }
  get completionQueues(): number {
    return this.#allocated[1]
  }
  get writeCache(): boolean {
    return this.#values.get(Feature.volatileWriteCache) === 1
  }

  reset(): void {
    this.#allocated = [this.#ioQueues, this.#ioQueues]
    for (const [id, { initial }] of Object.entries(features)) this.#values.set(Number(id), initial)
  }

  /** Value of feature cdw10 7:0, or a negative number when there is no such feature. */
  get(cdw10: number, cdw11: number): number {
    const id = cdw10 & 0xff
    if (id === Feature.numberOfQueues) return this.#queueNumbers()
    if (id === Feature.temperatureThreshold && (cdw11 & THRESHOLD_SELECT) !== 0) return -1
    if (id === Feature.interruptVector && (cdw11 & VECTOR) !== 0) return -1
    return this.#values.get(id) ?? -1
  }

  /** Sets feature cdw10 7:0 to `cdw11`; returns a status. */
  set(cdw10: number, cdw11: number, nsid: number): number {
    const id = cdw10 & 0xff
    if ((cdw10 & SAVE) !== 0) return Status.featureNotSaveable
    if (id === Feature.numberOfQueues) return this.#setQueues(cdw11)
    const spec = features[id]
    if (spec === undefined) return Status.invalidField
    if (nsid !== 0 && nsid !== ALL_NAMESPACES) return Status.featureNotNamespaceSpecific
    if ((cdw11 & ~spec.settable) !== 0) return Status.invalidField
    this.#values.set(id, cdw11)
    return Status.success
  }

  /** dw0 of Number of Queues: completion queues − 1 in 31:16, submission queues − 1 in 15:0. */
  #queueNumbers(): number {
    return (this.completionQueues - 1) * 0x1_0000 + (this.submissionQueues - 1)
  }

  #setQueues(cdw11: number): number {
    const [submissions, completions] = [cdw11 & 0xffff, cdw11 >>> 16]
    if (submissions === 0xffff || completions === 0xffff) return Status.invalidField
    if (this.#hasIoQueues()) return Status.commandSequenceError
    this.#allocated = [Math.min(submissions + 1, this.#ioQueues), Math.min(completions + 1, this.#ioQueues)]
    return Status.success
  }
}
