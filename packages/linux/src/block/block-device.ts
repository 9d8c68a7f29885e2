/**
 * Block devices: what a disk driver offers and what asks of it. A request is filled in, queued and answered by a call between
 * tasks; nothing on that way waits or allocates. Tasks that want to wait use {@link submit}.
 */
import type { Kernel } from '../kernel.ts'
import { ScatterList } from '../dma/scatterlist.ts'
import type { WaitQueue } from '@iospace/machine'

/** Bytes of a sector. All sector numbers count these. */
export const SECTOR_SIZE = 512
export const SECTOR_SHIFT = 9

export const BlockOp = { read: 0, write: 1, flush: 2 } as const

/** What a request can be answered with. */
export const BlockStatus = {
  ok: 0,
  /** The device could not do it. */
  ioError: -5,
  /** The device does not know this operation. */
  unsupported: -95,
  /** The range leaves the device, or the list does not fit its limits. */
  invalid: -22,
} as const

/** One transfer. Its owner fills it in, and may use it again when it was answered. */
export class BlockRequest {
  op: number = BlockOp.read
  /** First sector. */
  sector = 0
  /** Where the data is; whole sectors. Not looked at for a flush. */
  readonly list: ScatterList
  /** Answer: {@link BlockStatus}. */
  status = 0
  /** Called between tasks, with the request, when the answer is there. */
  done: (request: BlockRequest) => void
  /** The device's own, while it has the request. */
  context = 0

  /** `entries` is how many pieces of memory it can have. */
  constructor(entries: number, done: (request: BlockRequest) => void) {
    this.list = new ScatterList(entries)
    this.done = done
  }
}

export interface BlockDevice {
  /** `nvme0n1`, `xvda`. */
  readonly name: string
  /** Sectors of 512 bytes. */
  readonly sectors: number
  /** Bytes that mean something: not more than `sectors` · 512, and less where the last sector is only partly used. */
  readonly bytes: number
  readonly readonly: boolean
  /** Smallest piece that the medium writes, in bytes; requests are multiples of 512 whatever it is. */
  readonly sectorSize: number
  /** Pieces and bytes of the largest request, and bytes of its largest piece. */
  readonly maxSegments: number
  readonly maxBytes: number
  readonly maxSegmentBytes: number
  /** Scatterlists may hold granted pages. */
  readonly takesGrants: boolean
  /** Hands a request over. It is answered by `request.done`, always later. Several may be queued before one {@link commit}. */
  queue(request: BlockRequest): void
  /** Starts what was queued. */
  commit(): void
  /** Calls `listener` after each burst of answers: the time to pass them on. Returns what stops it. */
  onBurst(listener: () => void): () => void
}

/** Who is told at the end of each burst of answers. A device calls them often, so there is nothing to iterate that is made for it. */
export class BurstListeners {
  #list: readonly (() => void)[] = []

  /** Adds a listener; what is returned takes it out, from the next burst on. */
  add(listener: () => void): () => void {
    this.#list = [...this.#list, listener]
    return () => {
      this.#list = this.#list.filter((other) => other !== listener)
    }
  }

  call(): void {
    const list = this.#list
    for (let i = 0; i < list.length; i++) list[i]!()
  }
}

/** Queues one request, starts it and waits for its status. Tasks only. */
export async function submit(kernel: Kernel, device: BlockDevice, request: BlockRequest): Promise<number> {
  const queue = kernel.queue(`an answer of ${device.name}`)
  const { done } = request
  let answered = false
  request.done = (answer) => {
    answered = true
    request.done = done
    done(answer)
    queue.wake()
  }
  device.queue(request)
  device.commit()
  while (!answered) await queue.wait()
  return request.status
}

/** The block devices of a kernel, by name. */
export class BlockDevices {
  readonly #devices = new Map<string, BlockDevice>()
  readonly #waiting: WaitQueue[] = []

  get(name: string): BlockDevice | undefined {
    return this.#devices.get(name)
  }

  names(): string[] {
    return [...this.#devices.keys()]
  }

  /** Waits until there is a device `name`. Tasks only. */
  async wait(kernel: Kernel, name: string): Promise<BlockDevice> {
    for (;;) {
      const device = this.#devices.get(name)
      if (device !== undefined) return device
      const queue = kernel.queue(`block device ${name}`)
      this.#waiting.push(queue)
      await queue.wait()
    }
  }

  /** @internal For drivers. */
  add(device: BlockDevice): void {
    this.#devices.set(device.name, device)
    for (const queue of this.#waiting.splice(0)) queue.wakeAll()
  }

  /** @internal */
  remove(device: BlockDevice): void {
    this.#devices.delete(device.name)
  }
}
