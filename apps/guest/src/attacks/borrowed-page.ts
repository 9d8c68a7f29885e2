/** A page that the control domain lends to this guest for a while: granted, mapped here, then given back. */
import { DOMID_CONTROL, GNTMAP, gnttab_map_grant_ref, gnttab_unmap_grant_ref, GNTTABOP, PAGE_SIZE } from '@iospace/abi'
import type { Kernel, KernelBuffer } from '@iospace/linux'

/** Nodes in this domain's folder: the first two by the lender, the third by the borrower. */
const REF = 'lent/ref'
const STATE = 'lent/state'
const ANSWER = 'data/lent-page'

export class BorrowedPage {
  readonly #kernel: Kernel
  readonly #pfn: number
  readonly #handle: number
  /** Machine address of the page: where the mirror of this domain's memory has it while it is mapped. */
  readonly address: number

  private constructor(kernel: Kernel, pfn: number, handle: number, address: number) {
    this.#kernel = kernel
    this.#pfn = pfn
    this.#handle = handle
    this.address = address
  }

  /** Maps the page that is on offer; null when there is none. */
  static async open(kernel: Kernel): Promise<BorrowedPage | null> {
    const ref = await kernel.xenstore.readNumber(REF)
    const pfn = ref === undefined ? -1 : kernel.memory.slots.allocate()
    if (ref === undefined || pfn < 0) return null
    const map = {
      ...gnttab_map_grant_ref.zero(),
      host_addr: BigInt(pfn * PAGE_SIZE),
      flags: GNTMAP.host_map,
      ref,
      dom: DOMID_CONTROL,
    }
    kernel.hypercalls.callList('grant_table_op', GNTTABOP.map_grant_ref, gnttab_map_grant_ref, [map])
    if (map.status === 0) {
      return new BorrowedPage(kernel, pfn, map.handle, kernel.memory.platform.machineFrame(pfn) * PAGE_SIZE)
    }
    kernel.memory.slots.free(pfn)
    return null
  }

  /** The page, while it is mapped. */
  get window(): KernelBuffer {
    return this.#kernel.memory.window(this.#pfn)
  }

  /** Unmaps it and waits until the lender has ended the grant; from then on it is none of this domain's business. */
  async giveBack(): Promise<void> {
    const { hypercalls, memory, xenstore } = this.#kernel
    const unmap = { ...gnttab_unmap_grant_ref.zero(), host_addr: BigInt(this.#pfn * PAGE_SIZE), handle: this.#handle }
    hypercalls.callList('grant_table_op', GNTTABOP.unmap_grant_ref, gnttab_unmap_grant_ref, [unmap])
    memory.slots.free(this.#pfn)
    const changed = this.#kernel.queue('the end of a grant')
    let dirty = false
    const watch = await xenstore.watch(STATE, () => {
      dirty = true
      changed.wakeAll()
    })
    await xenstore.write(ANSWER, 'returned')
    for (let ended = false; !ended;) {
      // Before the read: a change while its answer is under way must not be lost.
      dirty = false
      ended = (await xenstore.read(STATE)) === 'ended'
      while (!ended && !dirty) await changed.wait()
    }
    await watch?.remove()
  }
}
