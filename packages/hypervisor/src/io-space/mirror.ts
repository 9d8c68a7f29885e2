/**
 * Default space of a domain that knows nothing of I/O spaces: every frame that it may write, at the frame's own machine address, and what it
 * has mapped of others' grants. Frames beyond the unit's reach are not in it: devices cannot name them. Holds no references; instead an entry goes, and its invalidation completes, before the frame leaves the domain
 * or the writable type. Source: xen/drivers/passthrough/iommu.c, common/grant_table.c (maptrack tree).
 */
import { Access, DriverStatus, type IommuDriver } from '@iospace/iommu/driver'
import { GNTMAP } from '@iospace/abi'
import { PAGE_SIZE } from '@iospace/machine'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { FrameType } from '../frames.ts'
import { completeInvalidations } from './invalidate.ts'
import { PageTree } from './page-tree.ts'

/** Uses of a granted frame: readers in 15–0, writers in 30–16. */
const WRITER = 1 << 16
const MOST = 0x7fff

export class Mirror {
  readonly table: number
  readonly #core: Core
  readonly #driver: IommuDriver
  readonly #domain: Domain
  readonly #grants = new PageTree()
  /** Machine frames from here on have no bus address: the unit's tables end before. */
  readonly #reach: number

  private constructor(core: Core, driver: IommuDriver, domain: Domain, table: number) {
    this.#core = core
    this.#driver = driver
    this.#domain = domain
    this.#reach = driver.capabilities.window.end / PAGE_SIZE
    this.table = table
  }

  /** A table with all that the domain has; a DriverStatus when there is no table or no memory for it. */
  static build(core: Core, driver: IommuDriver, domain: Domain, addressBits: number): Mirror | number {
    core.heap.payer = domain
    const table = driver.createTable(addressBits)
    core.heap.payer = null
    if (table < 0) return table
    const mirror = new Mirror(core, driver, domain, table)
    if (mirror.#fill()) return mirror
    mirror.destroy()
    return DriverStatus.noMemory
  }

  /** Enters a frame of the domain; false when no table page is left. */
  addOwn(index: number): boolean {
    return this.#map(index, Access.read | Access.write)
  }

  /** Takes a frame of the domain out; {@link complete} must follow before it is let go. False: it is still in. */
  removeOwn(index: number): boolean {
    return this.#core.frames.typeOf(index) !== FrameType.writable || this.#unmap(index)
  }

  /** Enters another domain's frame for one more grant map. */
  addGrant(index: number, readonly: boolean): boolean {
    const mfn = this.#core.mfn(index)
    const uses = this.#grants.get(mfn)
    if ((readonly ? uses & 0xffff : uses >>> 16) >= MOST) return false
    const present = uses !== 0
    if (!present || (!readonly && uses < WRITER)) {
      const access = readonly ? Access.read : Access.read | Access.write
      if (present && !this.#unmap(index)) return false
      if (!this.#map(index, access)) {
        if (present) this.#map(index, Access.read)
        return false
      }
    }
    this.#grants.set(mfn, uses + (readonly ? 1 : WRITER))
    return true
  }

  /**
   * One grant map less: the last writer leaves it readable for readers, the last of all takes it out. {@link complete} must follow. False:
   * nothing changed.
   */
  dropGrant(index: number, readonly: boolean): boolean {
    const mfn = this.#core.mfn(index)
    const uses = this.#grants.get(mfn) - (readonly ? 1 : WRITER)
    const downgrade = uses !== 0 && !readonly && uses < WRITER
    if ((uses === 0 || downgrade) && !this.#unmap(index)) return false
    this.#grants.set(mfn, uses)
    if (downgrade) this.#map(index, Access.read)
    return true
  }

  /** Waits for the invalidations. False: the unit does not answer; devices are fenced, and nothing may be let go. */
  complete(): boolean {
    return completeInvalidations(this.#core)
  }

  /** Takes frames out that nobody has seen yet, and frees them: at once, or when their invalidation has succeeded. */
  withdraw(frames: readonly number[]): void {
    const core = this.#core
    // One that cannot be taken out stays the domain's, without a slot, until its end.
    const out = frames.filter((index) => this.removeOwn(index))
    if (this.complete()) for (const index of out) core.frames.release(index)
    else {
      this.#domain.stuck += out.length
      core.devices.afterReset(this.#domain, () => {
        this.#domain.stuck -= out.length
        for (const index of out) core.frames.release(index)
      })
    }
  }

  /** Frees the table, now or when the unit answers again; no device may be attached. */
  destroy(): void {
    const core = this.#core
    if (!core.devices.blocksPending && this.#driver.destroyTable(this.table) === DriverStatus.ok) return
    core.devices.fenceAll()
    core.devices.afterReset(this.#domain, () => this.destroy())
  }

  // Not preemptible: until the mirror is the domain's, nobody takes out of it what leaves the domain.
  #fill(): boolean {
    const { frames } = this.#core
    const { domid, maptrack } = this.#domain
    for (let index = 0; index < frames.frames; index++) {
      if (!frames.belongsTo(index, domid) || frames.typeOf(index) !== FrameType.writable) continue
      if (!this.addOwn(index)) return false
    }
    for (let handle = 0; handle < maptrack.end; handle++) {
      const granter = maptrack.valid(handle) ? this.#core.domains[maptrack.domid[handle]!] : undefined
      if (granter === undefined || granter === this.#domain) continue
      const readonly = (maptrack.flags[handle]! & GNTMAP.readonly) !== 0
      if (!this.addGrant(granter.grants.frame[maptrack.ref[handle]!]!, readonly)) return false
    }
    return true
  }

  #map(index: number, access: number): boolean {
    const { heap } = this.#core
    const mfn = this.#core.mfn(index)
    if (mfn >= this.#reach) return true
    heap.payer = this.#domain
    const status = this.#driver.map(this.table, mfn >>> 20, mfn << 12, mfn, 1, access, true)
    heap.payer = null
    if (status === DriverStatus.ok && this.#driver.capabilities.invalidateOnMap)
      this.#driver.queueInvalidation(this.table, mfn >>> 20, mfn << 12, 1)
    // Devices may know what is not in the table any more, until the unit has forgotten it.
    if (status === DriverStatus.timedOut) this.#core.devices.fenceAll()
    return status === DriverStatus.ok
  }

  #unmap(index: number): boolean {
    const mfn = this.#core.mfn(index)
    if (mfn >= this.#reach) return true
    if (this.#driver.unmap(this.table, mfn >>> 20, mfn << 12, 1) !== DriverStatus.ok) return false
    this.#driver.queueInvalidation(this.table, mfn >>> 20, mfn << 12, 1)
    return true
  }
}
