/**
 * A blkif ring served: requests in, block requests out, responses back (Linux drivers/block/xen-blkback/blkback.c). Everything here
 * runs inside event handlers; nothing waits, nothing allocates per request.
 *
 * The front-end is not trusted. A request is copied out of the ring once and only the copy is looked at; what is wrong with it is
 * answered with an error; an index that cannot be ends this connection and no other.
 */
import { BLKIF_MAX_SEGMENTS_PER_REQUEST, BLKIF_OP, BLKIF_RING_SLOTS, BLKIF_RSP, GNTST } from '@iospace/abi'
import type { WaitQueue } from '@iospace/machine'
import { BlockOp, BlockStatus, SECTOR_SHIFT, SECTOR_SIZE, type BlockDevice } from '../../block/block-device.ts'
import type { Kernel } from '../../kernel.ts'
import { OWN_PAGES } from '../../dma/scatterlist.ts'
import { GrantMaps } from '../grant-maps.ts'
import { operationOf, responseWord, segmentsOf, type BlkifLayout } from '../io/blkif-protocol.ts'
import { BackRing } from '../io/rings.ts'
import type { BlkbackStats } from './blkback-stats.ts'
import { Pending } from './pending.ts'

const SEGMENTS = BLKIF_MAX_SEGMENTS_PER_REQUEST
/** Sectors of a page are 0 to 7. */
const LAST_SECTOR = 7
/** A sector number with more bits in its upper word lies beyond any disk; and 2^53 is where numbers stop being exact. */
const MAX_SECTOR_HIGH = 0x1f_ffff

export interface ConnectionOptions {
  readonly kernel: Kernel
  readonly disk: BlockDevice
  readonly layout: BlkifLayout
  readonly frontend: number
  /** What the front-end wrote into xenstore. */
  readonly ringRef: number
  readonly remotePort: number
  readonly readonly: boolean
  readonly stats: BlkbackStats
  /** The front-end broke the ring's rules: end the connection soon (called inside an event handler). */
  readonly onViolation: (text: string) => void
}

export class BlkbackConnection {
  readonly #options: ConnectionOptions
  readonly #maps: GrantMaps
  readonly #ring: BackRing
  readonly #ringSlot: number
  readonly #ringHandle: Int32Array
  readonly #port: number
  /** The private copy of the request being looked at: word index in memory. */
  readonly #copy: number
  readonly #copyPfn: number
  readonly #dataSlots: number
  readonly #free: Pending[] = []
  /** Writes under way, and flushes that wait for some of them, each in order of arrival. */
  readonly #writes: Pending[] = []
  readonly #heldFlushes: Pending[] = []
  readonly #idle: WaitQueue
  readonly #stopBursts: () => void
  #inFlight = 0
  #sequence = 0
  #stopped = false
  #answered = false

  /** Maps the ring, binds the event channel and begins to serve. A sentence that says what is wrong, when something is. */
  static open(options: ConnectionOptions): BlkbackConnection | string {
    const { kernel, disk, frontend, ringRef, remotePort } = options
    const { memory, events, hypercalls } = kernel
    const maps = new GrantMaps(hypercalls, memory, SEGMENTS)
    const ringSlot = memory.slots.allocate()
    const dataSlots = disk.takesGrants ? -1 : memory.slots.allocate(BLKIF_RING_SLOTS * SEGMENTS)
    const handle = new Int32Array(1)
    maps.begin()
    maps.add(ringSlot, frontend, ringRef, false)
    const giveBack = (): void => {
      maps.free()
      memory.slots.free(ringSlot)
      if (dataSlots >= 0) memory.slots.free(dataSlots, BLKIF_RING_SLOTS * SEGMENTS)
    }
    const status = maps.commit(handle)
    if (status !== GNTST.okay) {
      giveBack()
      return `mapping ring-ref ${ringRef} of domain ${frontend} failed with status ${status}`
    }
    const port = events.bindInterdomain(frontend, remotePort)
    if (port < 0) {
      maps.beginUnmap()
      maps.addUnmap(ringSlot, handle[0]!)
      maps.commitUnmap()
      giveBack()
      return `binding event-channel ${remotePort} of domain ${frontend} failed with error ${port}`
    }
    return new BlkbackConnection(options, maps, ringSlot, handle, port, dataSlots)
  }

  private constructor(
    options: ConnectionOptions,
    maps: GrantMaps,
    ringSlot: number,
    ringHandle: Int32Array,
    port: number,
    dataSlots: number,
  ) {
    const { kernel, disk, layout } = options
    const page = kernel.memory.allocate(layout.slotSize)
    this.#options = options
    this.#maps = maps
    this.#ringSlot = ringSlot
    this.#ringHandle = ringHandle
    this.#ring = new BackRing(kernel.platform.memory, ringSlot, BLKIF_RING_SLOTS, layout.slotSize)
    this.#port = port
    this.#copyPfn = page!.pfn
    this.#copy = page!.at(0) >>> 2
    this.#dataSlots = dataSlots
    this.#idle = kernel.queue(`requests of domain ${options.frontend} to end`)
    for (let i = 0; i < BLKIF_RING_SLOTS; i++) {
      this.#free.push(new Pending(dataSlots < 0 ? -1 : dataSlots + i * SEGMENTS, (pending) => this.#done(pending)))
    }
    this.#stopBursts = disk.onBurst(() => this.#publish())
    kernel.events.handle(port, () => this.#consume())
    // The front-end may have asked before this end was bound.
    this.#consume()
  }

  /** Stops serving, waits for what is under way, and gives the ring and the event channel back. Tasks only. */
  async close(): Promise<void> {
    const { kernel } = this.#options
    this.#stopped = true
    kernel.events.close(this.#port)
    while (this.#inFlight > 0) await this.#idle.wait()
    this.#stopBursts()
    this.#maps.beginUnmap()
    this.#maps.addUnmap(this.#ringSlot, this.#ringHandle[0]!)
    this.#maps.commitUnmap()
    this.#maps.free()
    kernel.memory.slots.free(this.#ringSlot)
    if (this.#dataSlots >= 0) kernel.memory.slots.free(this.#dataSlots, BLKIF_RING_SLOTS * SEGMENTS)
    kernel.memory.pages.free(this.#copyPfn)
  }

  #consume(): void {
    const ring = this.#ring
    const { words } = ring.memory
    const { disk, layout } = this.#options
    if (this.#stopped) return
    do {
      let unread = ring.requests()
      if (unread < 0) {
        this.#violation('its request index is beyond the ring')
        return
      }
      for (; unread > 0; unread--) {
        // The distance check left at least as many of these as there are requests to read.
        const pending = this.#free.pop()!
        const slot = ring.slot(ring.requestsRead)
        for (let i = 0; i < layout.requestWords; i++) words[this.#copy + i] = words[slot + i]!
        ring.requestsRead = (ring.requestsRead + 1) | 0
        this.#handle(pending)
      }
    } while (ring.finalCheck())
    disk.commit()
    this.#publish()
  }

  /** Looks at the private copy only. */
  #handle(pending: Pending): void {
    const { layout } = this.#options
    const { words } = this.#ring.memory
    const copy = this.#copy
    pending.idLow = words[copy + layout.id]!
    pending.idHigh = words[copy + layout.id + 1]!
    pending.operation = operationOf(words[copy]!)
    pending.mapped = 0
    pending.sequence = this.#sequence++
    this.#inFlight++
    switch (pending.operation) {
      case BLKIF_OP.READ:
      case BLKIF_OP.WRITE:
        this.#transfer(pending)
        return
      case BLKIF_OP.FLUSH_DISKCACHE:
        this.#flush(pending)
        return
      default:
        this.#respond(pending, BLKIF_RSP.EOPNOTSUPP)
    }
  }

  #transfer(pending: Pending): void {
    const { layout, disk, frontend, readonly } = this.#options
    const { words } = this.#ring.memory
    const { request } = pending
    const { list } = request
    const copy = this.#copy
    const write = pending.operation === BLKIF_OP.WRITE
    const count = segmentsOf(words[copy]!)
    const sectorHigh = words[copy + layout.sector + 1]! >>> 0
    if (count === 0 || count > SEGMENTS || sectorHigh > MAX_SECTOR_HIGH || (write && readonly)) {
      this.#respond(pending, BLKIF_RSP.ERROR)
      return
    }
    request.sector = sectorHigh * 0x1_0000_0000 + (words[copy + layout.sector]! >>> 0)
    request.op = write ? BlockOp.write : BlockOp.read
    list.reset(disk.takesGrants ? frontend : OWN_PAGES)
    if (!disk.takesGrants) this.#maps.begin()
    for (let i = 0; i < count; i++) {
      const segment = copy + layout.segments + i * layout.segmentWords
      const ref = words[segment]!
      const first = words[segment + 1]! & 0xff
      const last = (words[segment + 1]! >>> 8) & 0xff
      if (first > last || last > LAST_SECTOR) {
        this.#respond(pending, BLKIF_RSP.ERROR)
        return
      }
      list.add(disk.takesGrants ? ref : pending.slots + i, first << SECTOR_SHIFT, (last - first + 1) << SECTOR_SHIFT)
      if (!disk.takesGrants) this.#maps.add(pending.slots + i, frontend, ref, write)
    }
    if (
      request.sector + list.bytes / SECTOR_SIZE > disk.sectors ||
      (!disk.takesGrants && !this.#mapForCpu(pending, count))
    ) {
      this.#respond(pending, BLKIF_RSP.ERROR)
      return
    }
    if (write) this.#writes.push(pending)
    disk.queue(request)
  }

  #mapForCpu(pending: Pending, count: number): boolean {
    if (this.#maps.commit(pending.handles) !== GNTST.okay) return false
    pending.mapped = count
    return true
  }

  // A flush covers every write that was asked for before it, done or not: so it waits for them.
  #flush(pending: Pending): void {
    if (segmentsOf(this.#ring.memory.words[this.#copy]!) !== 0) {
      this.#respond(pending, BLKIF_RSP.ERROR)
      return
    }
    pending.request.op = BlockOp.flush
    pending.before = this.#writes.length
    if (pending.before === 0) this.#options.disk.queue(pending.request)
    else this.#heldFlushes.push(pending)
  }

  #done(pending: Pending): void {
    const { stats } = this.#options
    const { request, operation } = pending
    if (pending.mapped > 0) {
      this.#maps.beginUnmap()
      for (let i = 0; i < pending.mapped; i++) this.#maps.addUnmap(pending.slots + i, pending.handles[i]!)
      this.#maps.commitUnmap()
    }
    if (operation === BLKIF_OP.WRITE) this.#writeEnded(pending)
    if (request.status === BlockStatus.ok) {
      if (operation === BLKIF_OP.READ) {
        stats.reads++
        stats.readBytes += request.list.bytes
      } else if (operation === BLKIF_OP.WRITE) {
        stats.writes++
        stats.writtenBytes += request.list.bytes
      } else stats.flushes++
      this.#respond(pending, BLKIF_RSP.OKAY)
    } else this.#respond(pending, request.status === BlockStatus.unsupported ? BLKIF_RSP.EOPNOTSUPP : BLKIF_RSP.ERROR)
    if (this.#inFlight === 0) this.#idle.wakeAll()
  }

  #writeEnded(write: Pending): void {
    const { disk } = this.#options
    this.#writes.splice(this.#writes.indexOf(write), 1)
    if (this.#heldFlushes.length === 0) return
    for (const flush of this.#heldFlushes) if (write.sequence < flush.sequence) flush.before--
    while (this.#heldFlushes.length > 0 && this.#heldFlushes[0]!.before === 0)
      disk.queue(this.#heldFlushes.shift()!.request)
    disk.commit()
  }

  #respond(pending: Pending, status: number): void {
    const { layout, stats } = this.#options
    const ring = this.#ring
    const { words } = ring.memory
    const slot = ring.slot(ring.responsesWritten)
    if (status === BLKIF_RSP.ERROR) stats.errors++
    else if (status === BLKIF_RSP.EOPNOTSUPP) stats.unsupported++
    words[slot + layout.responseId] = pending.idLow
    words[slot + layout.responseId + 1] = pending.idHigh
    words[slot + layout.responseStatus] = responseWord(pending.operation, status)
    ring.responsesWritten = (ring.responsesWritten + 1) | 0
    this.#answered = true
    this.#inFlight--
    this.#free.push(pending)
  }

  /** Shows the front-end what was answered since the last time, with one event at most. */
  #publish(): void {
    if (!this.#answered) return
    this.#answered = false
    if (this.#ring.push() && !this.#stopped) this.#options.kernel.events.send(this.#port)
  }

  #violation(text: string): void {
    const { stats, frontend, onViolation } = this.#options
    this.#stopped = true
    stats.violations++
    onViolation(`domain ${frontend}: ${text}`)
  }
}
