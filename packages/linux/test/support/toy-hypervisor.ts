/**
 * The least that front- and back-ends need of a hypervisor, written from the ABI and nothing else: memory by page numbers, event channels,
 * grants v1 mapped into slots. It checks what a real one checks, so a kernel that breaks a rule fails here too. The real one meets the
 * kernel in system-tests.
 */
import {
  Errno,
  EVTCHNOP,
  evtchn_alloc_unbound,
  evtchn_bind_interdomain,
  evtchn_close,
  evtchn_send,
  GNTMAP,
  GNTST,
  gnttab_map_grant_ref,
  gnttab_query_size,
  gnttab_unmap_grant_ref,
  GNTTABOP,
  GTF,
  HYPERCALL,
  shared_info,
  START_INFO_PFN,
  start_info,
  vcpu_info,
  XENMAPSPACE,
  XENMEM,
  xen_add_to_physmap,
} from '@iospace/abi'
import { Machine } from '@iospace/machine'
import type { Fields, Struct, ValueOf } from '@iospace/wire'
import type { Platform, PlatformMemory } from '../../src/index.ts'

const PAGE = 4096
const SPARE = 1024

interface Port {
  remote: number
  remotePort: number
}

export class ToyDomain {
  readonly domid: number
  readonly platform: Platform
  readonly p2m: Int32Array
  readonly ports: (Port | undefined)[] = [undefined]
  readonly grantFrames: number[] = []
  sharedInfo = -1
  upcall: () => void = () => {}
  console = ''
  /** Live grant maps of this domain: handle to what it maps. */
  readonly maps = new Map<number, { granter: number; ref: number; pfn: number; readonly: boolean }>()
  nextHandle = 1
  /** Hypercalls by number. */
  readonly calls = new Map<number, number>()

  constructor(domid: number, p2m: Int32Array, platform: Platform) {
    this.domid = domid
    this.p2m = p2m
    this.platform = platform
  }
}

export class ToyHypervisor {
  readonly machine: Machine
  readonly domains: ToyDomain[] = []
  readonly crashes: unknown[] = []
  /** What answers iommu_op; without one there is no IOMMU. */
  iommuOp: (domain: ToyDomain, op: number, pointer: number) => number = () => -Errno.ENOSYS
  readonly #frames: number[]

  constructor(frames = 8192) {
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
    this.machine = new Machine({ memory: { lowFrames: frames, highFrames: 0, boardBytes: 1 << 20 }, seed: 5, turn })
    this.#frames = this.machine.random.shuffle(Array.from({ length: frames - 1 }, (_, i) => i + 1))
  }

  /** A domain of `pages` scattered pages. `store` tells the xenstore page and port to write into start_info. */
  create(
    name: string,
    pages: number,
    commandLine = '',
    store?: { readonly pfn: number; readonly port: number },
  ): ToyDomain {
    const { machine } = this
    const { memory } = machine
    const p2m = new Int32Array(pages + SPARE).fill(-1)
    for (let pfn = 1; pfn < pages; pfn++) p2m[pfn] = this.#frames.pop()!
    const tasks = machine.scheduler.group(name, (error) => this.crashes.push(error))
    const frame = (pfn: number): number => p2m[pfn] ?? -1
    const platformMemory: PlatformMemory = {
      pages: p2m.length,
      bytes: memory.bytes,
      words: memory.words,
      doubles: memory.doubles,
      view: memory.view,
      frameOffset: (pfn) => (frame(pfn) < 0 ? -1 : memory.frameOffset(frame(pfn))),
      machineFrame: frame,
      copy: memory.copy,
      fill: memory.fill,
    }
    const unused = (): number => 0xffffffff
    const platform: Platform = {
      name,
      tasks,
      memory: platformMemory,
      hypercall: (nr, a1 = 0, a2 = 0, a3 = 0) => this.#hypercall(domain, nr, a1, a2, a3),
      read32: unused,
      write32: unused,
      configRead: unused,
      configWrite: unused,
      devices: () => [],
      onUpcall: (handler) => {
        domain.upcall = handler
      },
      now: () => machine.clock.now,
      charge: (kind, times) => machine.clock.charge(kind, times),
      relax: () => {},
    }
    const domain = new ToyDomain(this.domains.length, p2m, platform)
    this.domains.push(domain)
    domain.sharedInfo = this.#frames.pop()!
    start_info.write(memory.view, platformMemory.frameOffset(START_INFO_PFN), {
      ...start_info.zero(),
      nr_pages: BigInt(pages),
      cmd_line: new Uint8Array(1024).fill(0).map((_, i) => commandLine.charCodeAt(i) || 0),
      store_mfn: BigInt(store === undefined ? 0 : frame(store.pfn)),
      store_evtchn: store?.port ?? 0,
    })
    return domain
  }

  /** Binds a fresh port of `a` to a fresh port of `b`. */
  connect(a: ToyDomain, b: ToyDomain): [number, number] {
    a.ports.push({ remote: b.domid, remotePort: b.ports.length })
    b.ports.push({ remote: a.domid, remotePort: a.ports.length - 1 })
    return [a.ports.length - 1, b.ports.length - 1]
  }

  /** Runs until nothing goes on; throws what a domain threw. */
  async run(): Promise<void> {
    const outcome = await this.machine.scheduler.run()
    if (this.crashes.length > 0) throw this.crashes[0]
    if (outcome.kind !== 'finished') throw new Error(JSON.stringify(outcome))
  }

  /** Grant entry `ref` of a domain as its flags. */
  grantFlags(domain: ToyDomain, ref: number): number {
    return this.machine.memory.view.getUint16(this.#entry(domain, ref), true)
  }

  #hypercall(domain: ToyDomain, nr: number, a1: number, a2: number, a3: number): number {
    domain.calls.set(nr, (domain.calls.get(nr) ?? 0) + 1)
    switch (nr) {
      case HYPERCALL.memory_op:
        return a1 === XENMEM.add_to_physmap ? this.#addToPhysmap(domain, a2) : -Errno.ENOSYS
      case HYPERCALL.event_channel_op:
        return this.#event(domain, a1, a2)
      case HYPERCALL.grant_table_op:
        return this.#grant(domain, a1, a2, a3)
      case HYPERCALL.console_io:
        domain.console += this.#text(domain, a3, a2)
        return 0
      case HYPERCALL.sched_op:
        return 0
      case HYPERCALL.iommu_op:
        return this.iommuOp(domain, a1, a2)
      default:
        return -Errno.ENOSYS
    }
  }

  #addToPhysmap(domain: ToyDomain, pointer: number): number {
    const { space, idx, gpfn } = this.read(domain, xen_add_to_physmap, pointer)
    if (space === XENMAPSPACE.shared_info) domain.p2m[Number(gpfn)] = domain.sharedInfo
    else if (space === XENMAPSPACE.grant_table) {
      while (domain.grantFrames.length <= Number(idx)) {
        const mfn = this.#frames.pop()!
        this.machine.memory.fill(mfn * PAGE, 0, PAGE)
        domain.grantFrames.push(mfn)
      }
      domain.p2m[Number(gpfn)] = domain.grantFrames[Number(idx)]!
    } else return -Errno.EINVAL
    return 0
  }

  #event(domain: ToyDomain, op: number, pointer: number): number {
    switch (op) {
      case EVTCHNOP.alloc_unbound: {
        const value = this.read(domain, evtchn_alloc_unbound, pointer)
        domain.ports.push({ remote: value.remote_dom, remotePort: 0 })
        this.write(domain, evtchn_alloc_unbound, pointer, { ...value, port: domain.ports.length - 1 })
        return 0
      }
      case EVTCHNOP.bind_interdomain: {
        const value = this.read(domain, evtchn_bind_interdomain, pointer)
        const other = this.domains[value.remote_dom]?.ports[value.remote_port]
        if (other === undefined || other.remote !== domain.domid || other.remotePort !== 0) return -Errno.EINVAL
        domain.ports.push({ remote: value.remote_dom, remotePort: value.remote_port })
        other.remotePort = domain.ports.length - 1
        this.write(domain, evtchn_bind_interdomain, pointer, { ...value, local_port: domain.ports.length - 1 })
        return 0
      }
      case EVTCHNOP.send: {
        const port = domain.ports[this.read(domain, evtchn_send, pointer).port]
        if (port === undefined || port.remotePort === 0) return -Errno.EINVAL
        this.raise(this.domains[port.remote]!, port.remotePort)
        return 0
      }
      case EVTCHNOP.close: {
        const { port } = this.read(domain, evtchn_close, pointer)
        const closed = domain.ports[port]
        if (closed === undefined) return -Errno.EINVAL
        domain.ports[port] = undefined
        const other = this.domains[closed.remote]?.ports[closed.remotePort]
        if (other !== undefined) other.remotePort = 0
        return 0
      }
      default:
        return -Errno.ENOSYS
    }
  }

  /** Sets a port pending, in the order that `vcpu_info` gives. */
  raise(domain: ToyDomain, port: number): void {
    const { bytes, words } = this.machine.memory
    const base = domain.sharedInfo * PAGE
    const word = (base >> 2) + shared_info.words.evtchn_pending + (port >> 5)
    if ((words[word]! & (1 << (port & 31))) !== 0) return
    words[word]! |= 1 << (port & 31)
    if ((words[(base >> 2) + shared_info.words.evtchn_mask + (port >> 5)]! & (1 << (port & 31))) !== 0) return
    words[(base >> 2) + vcpu_info.words.evtchn_pending_sel + (port >> 11)]! |= 1 << ((port >> 6) & 31)
    bytes[base + vcpu_info.offsets.evtchn_upcall_pending] = 1
    domain.platform.tasks.interrupt(() => domain.upcall())
  }

  #grant(domain: ToyDomain, op: number, pointer: number, count: number): number {
    for (let i = 0; i < count; i++) {
      if (op === GNTTABOP.query_size) {
        const value = this.read(domain, gnttab_query_size, pointer)
        this.write(domain, gnttab_query_size, pointer, {
          ...value,
          nr_frames: domain.grantFrames.length,
          max_nr_frames: 4,
          status: 0,
        })
      } else if (op === GNTTABOP.map_grant_ref) {
        const at = pointer + i * gnttab_map_grant_ref.size
        const value = this.read(domain, gnttab_map_grant_ref, at)
        this.write(domain, gnttab_map_grant_ref, at, { ...value, ...this.#mapGrant(domain, value) })
      } else if (op === GNTTABOP.unmap_grant_ref) {
        const at = pointer + i * gnttab_unmap_grant_ref.size
        const value = this.read(domain, gnttab_unmap_grant_ref, at)
        this.write(domain, gnttab_unmap_grant_ref, at, { ...value, status: this.#unmapGrant(domain, value) })
      } else return -Errno.ENOSYS
    }
    return 0
  }

  #mapGrant(
    domain: ToyDomain,
    { host_addr, flags, ref, dom }: ValueOf<typeof gnttab_map_grant_ref.fields>,
  ): { status: number; handle: number } {
    const granter = this.domains[dom]
    const pfn = Number(host_addr) / PAGE
    if (granter === undefined) return { status: GNTST.bad_domain, handle: 0 }
    if (ref >= granter.grantFrames.length * 512) return { status: GNTST.bad_gntref, handle: 0 }
    const { view } = this.machine.memory
    const entry = this.#entry(granter, ref)
    const entryFlags = view.getUint16(entry, true)
    const readonly = (flags & GNTMAP.readonly) !== 0
    if ((entryFlags & GTF.type_mask) !== GTF.permit_access || view.getUint16(entry + 2, true) !== domain.domid)
      return { status: GNTST.general_error, handle: 0 }
    if (!readonly && (entryFlags & GTF.readonly) !== 0) return { status: GNTST.general_error, handle: 0 }
    if (domain.p2m[pfn] !== -1) return { status: GNTST.general_error, handle: 0 }
    view.setUint16(entry, entryFlags | GTF.reading | (readonly ? 0 : GTF.writing), true)
    domain.p2m[pfn] = view.getUint32(entry + 4, true)
    domain.maps.set(domain.nextHandle, { granter: dom, ref, pfn, readonly })
    return { status: GNTST.okay, handle: domain.nextHandle++ }
  }

  #unmapGrant(domain: ToyDomain, { host_addr, handle }: ValueOf<typeof gnttab_unmap_grant_ref.fields>): number {
    const map = domain.maps.get(handle)
    if (map === undefined || map.pfn * PAGE !== Number(host_addr)) return GNTST.bad_handle
    domain.maps.delete(handle)
    domain.p2m[map.pfn] = -1
    const others = this.domains
      .flatMap((other) => [...other.maps.values()])
      .filter((other) => other.granter === map.granter && other.ref === map.ref)
    const entry = this.#entry(this.domains[map.granter]!, map.ref)
    const bits = (others.length > 0 ? GTF.reading : 0) | (others.some((other) => !other.readonly) ? GTF.writing : 0)
    const { view } = this.machine.memory
    view.setUint16(entry, (view.getUint16(entry, true) & ~(GTF.reading | GTF.writing)) | bits, true)
    return GNTST.okay
  }

  #entry(domain: ToyDomain, ref: number): number {
    return domain.grantFrames[ref >> 9]! * PAGE + (ref & 511) * 8
  }

  #text(domain: ToyDomain, pointer: number, length: number): string {
    const at = this.#offset(domain, pointer)
    return new TextDecoder().decode(this.machine.memory.bytes.slice(at, at + length))
  }

  /** Guest structs may cross a page edge, and their pages are scattered. */
  read<F extends Fields>(domain: ToyDomain, struct: Struct<F>, pointer: number): ValueOf<F> {
    return struct.decode(
      Uint8Array.from({ length: struct.size }, (_, i) => this.machine.memory.bytes[this.#offset(domain, pointer + i)]!),
    )
  }

  write<F extends Fields>(domain: ToyDomain, struct: Struct<F>, pointer: number, value: ValueOf<F>): void {
    struct.encode(value).forEach((byte, i) => {
      this.machine.memory.bytes[this.#offset(domain, pointer + i)] = byte
    })
  }

  #offset(domain: ToyDomain, pointer: number): number {
    return domain.platform.memory.frameOffset(Math.floor(pointer / PAGE)) + (pointer % PAGE)
  }
}
