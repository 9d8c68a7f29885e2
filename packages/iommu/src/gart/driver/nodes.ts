/**
 * The northbridges as a driver sees them: configuration registers of function 3 of every node, always programmed alike. Order of
 * operations: facts D (Linux amd_gart_64.c, amd_nb.c).
 */
import type { ConfigAccess } from '../../config-access.ts'
import { DriverStatus, type DriverPort } from '../../iommu-driver.ts'
import {
  APERTURE_BASE_SHIFT,
  ApertureControl,
  apertureFirstPage,
  aperturePages,
  CacheControl,
  MACHINE_CHECK_WALK,
  Register,
  TABLE_BASE_SHIFT,
} from '../spec/registers.ts'

/** Where an aperture may end: a 32-bit device must reach all of it. */
const REACH = 0x1_0000_0000

export class DriverNodes {
  /** The aperture, as firmware left it in node 0: first page and how many; none where firmware left no usable one. */
  readonly firstPage: number
  readonly pages: number
  readonly #port: DriverPort
  readonly #config: ConfigAccess
  readonly #nodes: readonly number[]
  readonly #timeout: number
  readonly #order: number

  /** `ramEnd`: bytes of RAM from address 0, which an aperture must not cover. */
  constructor(port: DriverPort, config: ConfigAccess, nodes: readonly number[], timeout: number, ramEnd: number) {
    this.#port = port
    this.#config = config
    this.#nodes = nodes
    this.#timeout = timeout
    const control = config.configRead(nodes[0]!, Register.apertureControl, 4)
    this.#order = control & (ApertureControl.orderMask << ApertureControl.orderShift)
    const pages = aperturePages(control)
    const first = apertureFirstPage(control, config.configRead(nodes[0]!, Register.apertureBase, 4))
    const usable = first > 0 && first * 4096 >= ramEnd && (first + pages) * 4096 <= REACH
    this.firstPage = usable ? first : 0
    this.pages = usable ? pages : 0
  }

  /**
   * Points every node at the table whose first frame is `table`, then turns the apertures on: for devices and CPUs, with table walks that
   * do not look into CPU caches, and without machine checks for walks that fail.
   */
  switchOn(table: number): void {
    const { enable, disableCpu, disableIo, disableWalkProbe } = ApertureControl
    this.switchOff()
    this.#writeAll(Register.apertureBase, this.firstPage >>> (APERTURE_BASE_SHIFT - 12))
    this.#writeAll(Register.tableBase, (table << TABLE_BASE_SHIFT) >>> 0)
    this.#update(Register.machineCheckControl, 0, MACHINE_CHECK_WALK)
    this.#update(Register.apertureControl, enable | disableWalkProbe, disableCpu | disableIo)
  }

  /** The size of the aperture, which is not enabled: accesses to it go where they would without a GART. */
  switchOff(): void {
    this.#writeAll(Register.apertureControl, this.#order)
  }

  /** Makes every node forget its translations, and waits until all have, posted writes landed: ok or timedOut. */
  flush(): number {
    // Writing what was read, as well as the new bit, would clear an error that nobody has looked at.
    this.#writeAll(Register.cacheControl, CacheControl.invalidate)
    const deadline = this.#port.now() + this.#timeout
    for (const node of this.#nodes) {
      while ((this.#config.configRead(node, Register.cacheControl, 4) & CacheControl.invalidate) !== 0) {
        if (this.#port.now() > deadline) return DriverStatus.timedOut
        this.#port.relax()
      }
    }
    return DriverStatus.ok
  }

  /** How many nodes had a table walk fail since the last call; their bits are cleared. */
  takeErrors(): number {
    let failed = 0
    for (const node of this.#nodes) {
      if ((this.#config.configRead(node, Register.cacheControl, 4) & CacheControl.walkFailed) === 0) continue
      this.#config.configWrite(node, Register.cacheControl, 4, CacheControl.walkFailed)
      failed++
    }
    return failed
  }

  #writeAll(register: number, value: number): void {
    for (const node of this.#nodes) this.#config.configWrite(node, register, 4, value)
  }

  #update(register: number, set: number, clear: number): void {
    for (const node of this.#nodes) {
      const value = this.#config.configRead(node, register, 4)
      this.#config.configWrite(node, register, 4, ((value & ~clear) | set) >>> 0)
    }
  }
}
