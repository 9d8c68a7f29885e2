/** What a test bench may see of the hypervisor from outside: where things lie in the machine. No domain gets any of it. */
import { PAGE_SIZE } from '@iospace/machine'
import type { Core } from './core.ts'
import type { Dispatcher } from './dispatch.ts'

export class Oracle {
  readonly #core: Core
  readonly #dispatcher: Dispatcher

  constructor(core: Core, dispatcher: Dispatcher) {
    this.#core = core
    this.#dispatcher = dispatcher
  }

  /** Machine address of the page that hypercall arguments are copied into. */
  scratchAddress(): number {
    return this.#core.mfn(this.#dispatcher.scratchOffset / PAGE_SIZE) * PAGE_SIZE
  }

  /** Machine address of page `pfn` of a domain, or −1. */
  addressOf(domid: number, pfn: number): number {
    const index = this.#core.domains[domid]?.p2m.frame(pfn) ?? -1
    return index < 0 ? -1 : this.#core.mfn(index) * PAGE_SIZE
  }

  /** What function `sbdf` writes, where, to raise its interrupt, and the vector that it becomes; undefined when it has none. */
  interruptOf(sbdf: number): { address: number; data: number; vector: number } | undefined {
    const pirq = this.#core.devices.at(sbdf)?.pirq
    if (pirq === null || pirq === undefined) return undefined
    const { addressLow, data } = pirq.message
    return { address: addressLow >>> 0, data, vector: pirq.vector }
  }

  /** Machine frames that the IOMMU itself reads: root, context, queue, tables. The root comes first. Empty without an IOMMU. */
  iommuFrames(): number[] {
    return this.#core.driver?.ownFrames() ?? []
  }

  /** Owner and counts of machine frame `mfn`; undefined where there is no RAM. `kept`: the owner has not given it back. */
  frame(mfn: number): { owner: number; kept: boolean; count: number; type: number; typeCount: number } | undefined {
    const { frames, memory } = this.#core
    const index = memory.frameIndex(mfn)
    if (index < 0) return undefined
    const owner = frames.owner(index)
    if (owner < 0) return { owner, kept: false, count: 0, type: 0, typeCount: 0 }
    return {
      owner,
      kept: frames.belongsTo(index, owner),
      count: frames.count(index),
      type: frames.typeOf(index),
      typeCount: frames.typeCount(index),
    }
  }

  /** Every machine frame that domain `domid` owns. */
  framesOf(domid: number): number[] {
    const { frames } = this.#core
    const result: number[] = []
    for (let index = 0; index < frames.frames; index++)
      if (frames.owner(index) === domid) result.push(this.#core.mfn(index))
    return result
  }
}
