/**
 * Event channels over the two-level bitmaps of shared_info (Linux drivers/xen/events/events_2l.c). Handlers run inside the upcall,
 * between tasks; they may not wait, and wake a task where something has to.
 */
import {
  DOMID,
  EVTCHN_2L_NR_CHANNELS,
  evtchn_alloc_unbound,
  evtchn_bind_interdomain,
  evtchn_bind_pirq,
  evtchn_bind_virq,
  evtchn_close,
  EVTCHNOP,
  HYPERCALL,
  shared_info,
  vcpu_info,
} from '@iospace/abi'
import type { TaskGroup } from '@iospace/machine'
import type { KernelBuffer } from '../memory/kernel-buffer.ts'
import type { PlatformMemory } from '../platform.ts'
import type { Hypercalls } from './hypercalls.ts'

export type EventHandler = (port: number) => void

export class EventChannels {
  readonly #hypercalls: Hypercalls
  readonly #memory: PlatformMemory
  readonly #tasks: TaskGroup
  readonly #handlers: (EventHandler | null)[] = []
  readonly #pfn: number
  readonly #sendPage: KernelBuffer

  /** `sharedInfoPfn`: where shared_info is mapped. `sendPage`: a page for the argument of `send`. Every port starts masked. */
  constructor(
    hypercalls: Hypercalls,
    memory: PlatformMemory,
    tasks: TaskGroup,
    sharedInfoPfn: number,
    sendPage: KernelBuffer,
  ) {
    this.#hypercalls = hypercalls
    this.#memory = memory
    this.#tasks = tasks
    this.#pfn = sharedInfoPfn
    this.#sendPage = sendPage
    const base = memory.frameOffset(sharedInfoPfn)
    memory.fill(base + shared_info.offsets.evtchn_mask, 0xff, EVTCHN_2L_NR_CHANNELS / 8)
    memory.bytes[base + vcpu_info.offsets.evtchn_upcall_mask] = 0
  }

  /** Sets what an event of `port` calls, and unmasks the port. */
  handle(port: number, handler: EventHandler): void {
    this.#handlers[port] = handler
    this.unmask(port)
  }

  /** A port of this domain's that `remote` may bind to; or −errno. */
  allocUnbound(remote: number): number {
    const value = { dom: DOMID.SELF, remote_dom: remote, port: 0 }
    const result = this.#hypercalls.call('event_channel_op', EVTCHNOP.alloc_unbound, evtchn_alloc_unbound, value)
    return result < 0 ? result : value.port
  }

  /** Binds to `remotePort` of `remote`, which it allocated for this domain. The local port, or −errno. */
  bindInterdomain(remote: number, remotePort: number): number {
    const value = { remote_dom: remote, remote_port: remotePort, local_port: 0 }
    const result = this.#hypercalls.call('event_channel_op', EVTCHNOP.bind_interdomain, evtchn_bind_interdomain, value)
    return result < 0 ? result : value.local_port
  }

  /** Binds a virtual interrupt; the port, or −errno. */
  bindVirq(virq: number): number {
    const value = { virq, vcpu: 0, port: 0 }
    const result = this.#hypercalls.call('event_channel_op', EVTCHNOP.bind_virq, evtchn_bind_virq, value)
    return result < 0 ? result : value.port
  }

  /** Binds the interrupt of a device; the port, or −errno. */
  bindPirq(pirq: number): number {
    const value = { pirq, flags: 0, port: 0 }
    const result = this.#hypercalls.call('event_channel_op', EVTCHNOP.bind_pirq, evtchn_bind_pirq, value)
    return result < 0 ? result : value.port
  }

  /** Raises the event at the other end of `port`. 0, or −errno (the other end is gone). */
  send(port: number): number {
    const { memory } = this.#sendPage
    memory.words[memory.frameOffset(this.#sendPage.pfn) >>> 2] = port
    return this.#hypercalls.gate(HYPERCALL.event_channel_op, EVTCHNOP.send, this.#sendPage.address())
  }

  /** Masks and closes a port. 0, or −errno. */
  close(port: number): number {
    this.mask(port)
    this.#handlers[port] = null
    return this.#hypercalls.call('event_channel_op', EVTCHNOP.close, evtchn_close, { port })
  }

  /** Holds the events of a port back. */
  mask(port: number): void {
    this.#memory.words[this.#base() + shared_info.words.evtchn_mask + (port >> 5)]! |= 1 << (port & 31)
  }

  /** Lets the events of a port through; one that came meanwhile is handled as the next interrupt. */
  unmask(port: number): void {
    const { words } = this.#memory
    const base = this.#base()
    const bit = 1 << (port & 31)
    words[base + shared_info.words.evtchn_mask + (port >> 5)]! &= ~bit
    if ((words[base + shared_info.words.evtchn_pending + (port >> 5)]! & bit) === 0) return
    const selector = port >> 6
    words[base + vcpu_info.words.evtchn_pending_sel + (selector >> 5)]! |= 1 << (selector & 31)
    this.#memory.bytes[base * 4 + vcpu_info.offsets.evtchn_upcall_pending] = 1
    this.#tasks.interrupt(() => this.upcall())
  }

  /** The event upcall: steps (4) to (7) of `vcpu_info`. */
  upcall(): void {
    const { bytes, words } = this.#memory
    const base = this.#base()
    const pending = base * 4 + vcpu_info.offsets.evtchn_upcall_pending
    const selector = base + vcpu_info.words.evtchn_pending_sel
    while (bytes[pending] !== 0) {
      bytes[pending] = 0
      for (let half = 0; half < 2; half++) {
        let selected = words[selector + half]!
        words[selector + half] = 0
        while (selected !== 0) {
          const bit = 31 - Math.clz32(selected & -selected)
          selected &= selected - 1
          const word = 2 * (32 * half + bit)
          this.#handleWord(base, word)
          this.#handleWord(base, word + 1)
        }
      }
    }
  }

  // One pass over the bits found, so that a storm on one port cannot starve the others.
  #handleWord(base: number, word: number): void {
    const { words } = this.#memory
    const pending = base + shared_info.words.evtchn_pending + word
    const mask = base + shared_info.words.evtchn_mask + word
    let found = words[pending]! & ~words[mask]!
    while (found !== 0) {
      const bit = found & -found
      found &= found - 1
      // A handler that ran a moment ago may have masked it.
      if ((words[mask]! & bit) !== 0) continue
      words[pending]! &= ~bit
      const port = word * 32 + 31 - Math.clz32(bit)
      const handler = this.#handlers[port] ?? null
      if (handler === null) this.mask(port)
      else handler(port)
    }
  }

  #base(): number {
    return this.#memory.frameOffset(this.#pfn) >>> 2
  }
}
