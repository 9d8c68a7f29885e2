/**
 * Tables of an IOMMU that this kernel drives itself: bare metal, with the very driver that the hypervisor uses. One table per device,
 * which starts empty; what is not mapped is blocked.
 */
import { Errno } from '@iospace/abi'
import { DriverStatus, type IommuDriver } from '@iospace/iommu/driver'
import type { IommuTable } from './table-domain.ts'

/** The window ends below 0xFEE00000: writes from there on are interrupt messages, which no table translates. */
const LAST_PAGE = 0xfedff
const PAGES_PER_HIGH = 0x10_0000

export class DriverTable implements IommuTable {
  readonly name: string
  readonly firstPage = 1
  readonly lastPage: number
  readonly #driver: IommuDriver
  readonly #requester: number
  readonly #table: number

  /** A table for `requester`, attached to it; or −errno. */
  static open(driver: IommuDriver, requester: number): DriverTable | number {
    const table = driver.createTable(driver.capabilities.addressBits)
    if (table < 0) return errnoOf(table)
    const attached = driver.attach(requester, table)
    if (attached === DriverStatus.ok) return new DriverTable(driver, requester, table)
    driver.destroyTable(table)
    return errnoOf(attached)
  }

  private constructor(driver: IommuDriver, requester: number, table: number) {
    this.name = driver.capabilities.kind
    this.lastPage = Math.min(LAST_PAGE, 2 ** (driver.capabilities.addressBits - 12) - 1)
    this.#driver = driver
    this.#requester = requester
    this.#table = table
  }

  map(page: number, gfn: number, pages: number, access: number): number {
    return errnoOf(this.#driver.map(this.#table, high(page), low(page), gfn, pages, access))
  }

  unmap(page: number, pages: number): number {
    const status = this.#driver.unmap(this.#table, high(page), low(page), pages)
    return errnoOf(
      status === DriverStatus.ok ? this.#driver.queueInvalidation(this.#table, high(page), low(page), pages) : status,
    )
  }

  invalidate(): number {
    return errnoOf(this.#driver.completeInvalidations())
  }

  release(): void {
    if (this.#driver.block(this.#requester) === DriverStatus.ok) this.#driver.destroyTable(this.#table)
  }
}

const high = (page: number): number => Math.floor(page / PAGES_PER_HIGH)
const low = (page: number): number => (page % PAGES_PER_HIGH) << 12

function errnoOf(status: number): number {
  switch (status) {
    case DriverStatus.ok:
      return 0
    case DriverStatus.noMemory:
    case DriverStatus.noTable:
      return -Errno.ENOMEM
    case DriverStatus.unsupported:
      return -Errno.EOPNOTSUPP
    default:
      return -Errno.EIO
  }
}
