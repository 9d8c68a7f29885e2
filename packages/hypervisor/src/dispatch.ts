/** The gate: counts, holds machine interrupts, switches on the hypercall number, traces. */
import { Errno, HYPERCALL } from '@iospace/abi'
import { type Clock, Count, type InterruptController, type Machine, type Scheduler } from '@iospace/machine'
import { type Books, callName } from './books.ts'
import { Call } from './call.ts'
import { consoleIo } from './console-io.ts'
import type { Core } from './core.ts'
import type { Domain } from './domain.ts'
import { domctl } from './domctl/index.ts'
import { eventChannelOp } from './event-channel/index.ts'
import { grantTableOp } from './grant-table/index.ts'
import { iommuOp } from './iommu-op/index.ts'
import { memoryOp } from './memory-op/index.ts'
import { mmuextOp } from './mmuext-op.ts'
import { multicall } from './multicall.ts'
import { physdevOp } from './physdev/index.ts'
import { schedOp } from './sched-op.ts'
import { kick } from './upcall.ts'
import { xenVersion } from './xen-version.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const {
  iommu_op: IOMMU_OP,
  grant_table_op: GRANT_TABLE_OP,
  event_channel_op: EVENT_CHANNEL_OP,
  memory_op: MEMORY_OP,
  multicall: MULTICALL,
  physdev_op: PHYSDEV_OP,
  domctl: DOMCTL,
  sched_op: SCHED_OP,
  xen_version: XEN_VERSION,
  console_io: CONSOLE_IO,
  mmuext_op: MMUEXT_OP,
} = HYPERCALL
const HYPERCALLS = Count.hypercall

/** Calls inside calls: a multicall's entries, other vCPUs at preemption points. */
const MAX_DEPTH = 8
/** Of those, what is made at boot, while memory is in one piece: a guest's call and the entries of its multicall. */
const MADE_AT_BOOT = 2

export class Dispatcher {
  declare private readonly core: Core
  declare private readonly machine: Machine
  declare private readonly clock: Clock
  declare private readonly scheduler: Scheduler
  declare private readonly interrupts: InterruptController
  declare private readonly books: Books
  readonly #calls: Call[] = []
  #depth = 0

  constructor(core: Core) {
    this.core = core
    this.machine = core.machine
    this.clock = core.clock
    this.scheduler = core.machine.scheduler
    this.interrupts = core.machine.interrupts
    this.books = core.books
    for (let depth = 0; depth < MADE_AT_BOOT; depth++) this.#more(depth)
  }

  /** A hypercall of `domain`: 0, a count, or a negative errno. Throws only what ends the calling task (TaskHung). */
  hypercall(domain: Domain, nr: number, a1: number, a2: number, a3: number): number {
    const { interrupts } = this
    const { faultWatch } = this.core
    this.scheduler.enter()
    if (faultWatch !== null) faultWatch.arm()
    if (domain.dying) return -Errno.ESRCH
    if (isFraction(a1) || isFraction(a2) || isFraction(a3)) return -Errno.EINVAL
    interrupts.hold()
    this.clock.charge(HYPERCALLS)
    try {
      return this.enter(domain, nr, a1, a2, a3)
    } finally {
      interrupts.release()
      if (domain.ports.upcallDue) kick(domain)
    }
  }

  /** One call, already inside the hypervisor: from the gate, or an entry of a multicall. */
  enter(domain: Domain, nr: number, a1: number, a2: number, a3: number): number {
    const depth = this.#depth
    const call = this.#calls[depth] ?? this.#more(depth)
    if (call === null) return -Errno.EAGAIN
    const { trace } = this.machine
    const start = trace === null ? 0 : this.clock.now
    call.caller = domain
    call.subop = a1
    this.#depth = depth + 1
    let result: number
    try {
      result = this.#switch(call, nr, a1, a2, a3)
    } finally {
      call.finish()
      this.#depth = depth
    }
    this.books.call(nr, call.subop)
    if (trace !== null) trace.hypercall(start, this.clock.now, domain.domid, callName(nr, call.subop), result)
    return result
  }

  /** Byte offset of the scratch page of the first call: what an attack on the hypervisor's memory aims at. */
  get scratchOffset(): number {
    const call = this.#calls[0] ?? this.#more(0)
    return call === null ? -1 : call.at
  }

  #switch(call: Call, nr: number, a1: number, a2: number, a3: number): number {
    switch (nr) {
      case IOMMU_OP:
        return iommuOp(call, a1, a2)
      case GRANT_TABLE_OP:
        return grantTableOp(call, a1, a2, a3)
      case EVENT_CHANNEL_OP:
        return eventChannelOp(call, a1, a2)
      case MEMORY_OP:
        return memoryOp(call, a1, a2)
      case MULTICALL:
        return multicall(call, this, a1, a2)
      case PHYSDEV_OP:
        return physdevOp(call, a1, a2)
      case DOMCTL:
        return domctl(call, a1)
      case SCHED_OP:
        return schedOp(call, a1, a2)
      case XEN_VERSION:
        return xenVersion(call, a1, a2)
      case MMUEXT_OP:
        return mmuextOp(call, a1, a2, a3)
      case CONSOLE_IO:
        return consoleIo(call, a1, a2, a3)
      default:
        return -Errno.ENOSYS
    }
  }

  #more(depth: number): Call | null {
    if (depth >= MAX_DEPTH) return null
    const call = Call.make(this.core)
    if (call !== null) this.#calls[depth] = call
    return call
  }
}

/** A register holds whole numbers; what is no number at all is a pointer to nowhere or an unknown command, and answered as such. */
function isFraction(register: number): boolean {
  return (register | 0) !== register && Number.isFinite(register) && !Number.isInteger(register)
}
