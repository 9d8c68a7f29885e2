/**
 * Invalidation by registers: CCMD, and IVA with IOTLB (facts A.1, A.5). A request takes effect late; the register then tells at which
 * granularity it was done, 0 for a request that was refused. With the queue on nothing is taken: the request's bit stays, as in QEMU.
 */
import type { Clock } from '@iospace/machine'
import type { RegisterFile } from '../../register-file.ts'
import type { VtdPersonality } from '../personalities.ts'
import {
  ContextCommand,
  Granularity,
  InvalidationAddress,
  IotlbCommand,
  IotlbRegister,
  QUEUE_ONLY_VERSION,
  Register,
} from '../spec/registers.ts'
import type { VtdCaches } from './caches.ts'
import type { InvalidationQueue } from './invalidation-queue.ts'

export class RegisterInvalidation {
  /** Called before caches forget, on a unit with RWBF. */
  flushWriteBuffer: (() => void) | null = null
  declare private readonly registers: RegisterFile
  declare private readonly clock: Clock
  declare private readonly delay: number
  declare private readonly caches: VtdCaches
  declare private readonly queue: InvalidationQueue
  /** Offset of IVA. */
  declare private readonly iotlb: number
  declare private readonly takesRequests: boolean
  declare private readonly drainsWrites: boolean
  #resets = 0

  constructor(
    registers: RegisterFile,
    clock: Clock,
    { capabilities, timing, version }: VtdPersonality,
    caches: VtdCaches,
    queue: InvalidationQueue,
  ) {
    this.registers = registers
    this.clock = clock
    this.delay = timing.command
    this.caches = caches
    this.queue = queue
    this.iotlb = capabilities.iotlbOffset
    this.takesRequests = version >>> 4 < QUEUE_ONLY_VERSION
    this.drainsWrites = capabilities.drainWrites
  }

  /** The upper half of a register was written: whether it was one of these. */
  write(offset: number, value: number): boolean {
    if (offset === Register.contextCommand + 4) {
      if ((value & ContextCommand.invalidate) !== 0) this.#later(() => this.#contexts())
      return true
    }
    if (offset !== this.iotlb + IotlbRegister.command + 4) return false
    if ((value & IotlbCommand.invalidate) !== 0) this.#later(() => this.#translations())
    return true
  }

  reset(): void {
    this.#resets++
  }

  #contexts(): void {
    const { registers } = this
    const low = registers.get(Register.contextCommand)
    const high = registers.get(Register.contextCommand + 4)
    const done = this.takesRequests
      ? this.caches.invalidateContexts(
          (high >>> ContextCommand.granularityShift) & 3,
          low & 0xffff,
          low >>> 16,
          high & ContextCommand.functionMask,
        )
      : Granularity.refused
    const kept = high & ~(ContextCommand.invalidate | (3 << ContextCommand.actualShift))
    registers.set(Register.contextCommand + 4, kept | (done << ContextCommand.actualShift))
  }

  #translations(): void {
    const { registers, iotlb } = this
    const at = iotlb + IotlbRegister.command + 4
    const command = registers.get(at)
    const low = registers.get(iotlb + IotlbRegister.address)
    const done = this.takesRequests
      ? this.caches.invalidateIotlb(
          (command >>> IotlbCommand.granularityShift) & 3,
          command & IotlbCommand.domainMask,
          registers.get(iotlb + IotlbRegister.address + 4),
          low & ~0xfff,
          low & InvalidationAddress.orderMask,
          (low & InvalidationAddress.leafOnly) !== 0,
          this.drainsWrites && (command & IotlbCommand.drainWrites) !== 0,
        )
      : Granularity.refused
    const kept = command & ~(IotlbCommand.invalidate | (3 << IotlbCommand.actualShift))
    registers.set(at, kept | (done << IotlbCommand.actualShift))
  }

  #later(action: () => void): void {
    const resets = this.#resets
    this.clock.after(this.delay, () => {
      if (resets !== this.#resets || this.queue.enabled) return
      if (this.flushWriteBuffer !== null) this.flushWriteBuffer()
      action()
    })
  }
}
