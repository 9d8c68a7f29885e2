/**
 * iommu_op for the toy hypervisor: one space per domain, tables as a map, the rules of every list as the ABI gives them (prefix, `done`,
 * CONTINUE, chains that end together). It stands between the bus and memory, so a test sees what a device really reaches.
 */
import {
  ACCESS,
  Errno,
  HANDLE_NONE,
  IOMMU_FLAG,
  iommu_map,
  iommu_map_element,
  iommu_map_grant,
  iommu_map_grant_element,
  IOMMU_OP,
  iommu_unmap,
  iommu_unmap_element,
  iommu_unmap_grant,
  iommu_unmap_grant_element,
  GNTST,
  GTF,
  MAP_ELEMENT_FLAGS,
} from '@iospace/abi'
import { DmaOutcome, type DmaTranslator } from '@iospace/machine'
import type { Fields, Struct, ValueOf } from '@iospace/wire'
import type { ToyDomain, ToyHypervisor } from './toy-hypervisor.ts'

interface Page {
  readonly mfn: number
  readonly access: number
}

export class ToyIommu implements DmaTranslator {
  readonly pages = new Map<number, Page>()
  /** Chains: first page and pages. */
  readonly mappings = new Map<number, number>()
  readonly grants = new Map<number, { readonly page: number; readonly granter: number; readonly ref: number }>()
  /** Calls by sub-op name, and elements seen. */
  readonly calls: Record<string, number> = {}
  /** The n-th element of the next map or map_grant fails with this error. */
  failAt = -1
  failWith: number = Errno.ENOBUFS
  #next = 0x8_0000_0000 / 4096
  #handle = 1
  readonly #xen: ToyHypervisor

  constructor(xen: ToyHypervisor) {
    this.#xen = xen
    xen.machine.pci.translator = this
  }

  call(domain: ToyDomain, op: number, pointer: number): number {
    const name = Object.entries(IOMMU_OP).find(([, number]) => number === op)![0]
    this.calls[name] = (this.calls[name] ?? 0) + 1
    switch (op) {
      case IOMMU_OP.map:
        return this.#list(domain, pointer, iommu_map, iommu_map_element, (element, previous) =>
          this.#map(domain, element, previous),
        )
      case IOMMU_OP.unmap:
        return this.#list(domain, pointer, iommu_unmap, iommu_unmap_element, (element) => this.#unmap(element))
      case IOMMU_OP.map_grant:
        return this.#list(domain, pointer, iommu_map_grant, iommu_map_grant_element, (element) =>
          this.#mapGrant(domain, element),
        )
      case IOMMU_OP.unmap_grant:
        return this.#list(domain, pointer, iommu_unmap_grant, iommu_unmap_grant_element, (element) =>
          this.#unmapGrant(element),
        )
      default:
        return -Errno.EOPNOTSUPP
    }
  }

  #list<F extends Fields, E extends Fields>(
    domain: ToyDomain,
    pointer: number,
    struct: Struct<F>,
    element: Struct<E>,
    each: (value: ValueOf<E>, previous: ValueOf<E> | null) => number,
  ): number {
    const argument = this.#xen.read(domain, struct, pointer) as unknown as ValueOf<typeof iommu_map.fields>
    const { list, flags } = argument
    if (argument.size !== struct.size || list.stride !== element.size) return -Errno.EINVAL
    let done = 0
    let result = 0
    let previous: ValueOf<E> | null = null
    for (let i = 0; i < list.count; i++) {
      const at = Number(list.array) + i * list.stride
      const value = this.#xen.read(domain, element, at)
      const error = this.failAt === i ? -this.failWith : each(value, previous)
      this.#xen.write(domain, element, at, {
        ...value,
        ...('status' in value && !('error' in value)
          ? { status: error }
          : { error, status: error === 0 ? 0 : GNTST.general_error }),
      })
      previous = value
      if (error === 0) done++
      else if ((flags & IOMMU_FLAG.CONTINUE) === 0) {
        result = error
        break
      }
    }
    this.failAt = -1
    this.#xen.write(domain, struct, pointer, { ...(argument as object), done } as ValueOf<F>)
    return result
  }

  #map(
    domain: ToyDomain,
    element: ValueOf<typeof iommu_map_element.fields>,
    previous: ValueOf<typeof iommu_map_element.fields> | null,
  ): number {
    const follows = (element.flags & MAP_ELEMENT_FLAGS.FOLLOWS) !== 0
    const count = Number(element.pages)
    if (follows && previous === null) return -Errno.EINVAL
    const align = 2 ** Math.max(0, element.align - 12)
    const page = follows
      ? Number(previous!.io_address) / 4096 + Number(previous!.pages)
      : Math.ceil(this.#next / align) * align
    if (!follows && element.limit !== 0n && BigInt(page + count) * 4096n - 1n > element.limit) return -Errno.ENOSPC
    if (this.pages.has(page)) return -Errno.EADDRINUSE
    for (let i = 0; i < count; i++) {
      const mfn = Number(element.gfn) + i
      if (!domain.p2m.includes(mfn)) return -Errno.ENXIO
      this.pages.set(page + i, { mfn, access: element.access })
    }
    if (follows) {
      const [first] = [...this.mappings].find(([start, length]) => start + length === page)!
      this.mappings.set(first, this.mappings.get(first)! + count)
    } else this.mappings.set(page, count)
    // A gap behind each chain, so that an overrun is seen; FOLLOWS continues right behind.
    this.#next = Math.max(this.#next, page + count + 600)
    element.io_address = BigInt(page) * 4096n
    return 0
  }

  #unmap({ io_address, pages }: ValueOf<typeof iommu_unmap_element.fields>): number {
    const page = Number(io_address) / 4096
    if (this.mappings.get(page) === undefined) return -Errno.ENOENT
    if (this.mappings.get(page) !== Number(pages)) return -Errno.EINVAL
    this.mappings.delete(page)
    for (let i = 0; i < Number(pages); i++) this.pages.delete(page + i)
    return 0
  }

  #mapGrant(domain: ToyDomain, element: ValueOf<typeof iommu_map_grant_element.fields>): number {
    const granter = this.#xen.domains[element.domid]!
    const entry = granter.grantFrames[element.ref >> 9]! * 4096 + (element.ref & 511) * 8
    const { view } = this.#xen.machine.memory
    const flags = view.getUint16(entry, true)
    if ((flags & GTF.type_mask) !== GTF.permit_access || view.getUint16(entry + 2, true) !== domain.domid)
      return -Errno.ENOENT
    const write = (element.access & ACCESS.WRITE) !== 0
    if (write && (flags & GTF.readonly) !== 0) return -Errno.EACCES
    view.setUint16(entry, flags | GTF.reading | (write ? GTF.writing : 0), true)
    const page = this.#next
    this.#next += 3
    this.pages.set(page, { mfn: view.getUint32(entry + 4, true), access: element.access })
    element.io_address = BigInt(page) * 4096n
    element.handle = this.#handle++
    this.grants.set(element.handle, { page, granter: element.domid, ref: element.ref })
    return 0
  }

  #unmapGrant({ handle }: ValueOf<typeof iommu_unmap_grant_element.fields>): number {
    const grant = this.grants.get(handle)
    if (grant === undefined || handle === HANDLE_NONE) return -Errno.ENOENT
    this.grants.delete(handle)
    this.pages.delete(grant.page)
    const granter = this.#xen.domains[grant.granter]!
    const entry = granter.grantFrames[grant.ref >> 9]! * 4096 + (grant.ref & 511) * 8
    const { view } = this.#xen.machine.memory
    view.setUint16(entry, view.getUint16(entry, true) & ~(GTF.reading | GTF.writing), true)
    return 0
  }

  dmaRead(_requester: number, hi: number, lo: number, at: number, length: number): number {
    return this.#move(hi, lo, at, length, ACCESS.READ)
  }

  dmaWrite(_requester: number, hi: number, lo: number, at: number, length: number): number {
    return this.#move(hi, lo, at, length, ACCESS.WRITE)
  }

  #move(hi: number, lo: number, at: number, length: number, access: number): number {
    const { memory } = this.#xen.machine
    const address = (hi >>> 0) * 2 ** 32 + (lo >>> 0)
    for (let done = 0; done < length;) {
      const page = this.pages.get(Math.floor((address + done) / 4096))
      if (page === undefined || (page.access & access) === 0) return DmaOutcome.blocked
      const offset = (address + done) % 4096
      const piece = Math.min(length - done, 4096 - offset)
      if (access === ACCESS.READ) memory.copy(at + done, page.mfn * 4096 + offset, piece)
      else memory.copy(page.mfn * 4096 + offset, at + done, piece)
      done += piece
    }
    return DmaOutcome.translated
  }
}
