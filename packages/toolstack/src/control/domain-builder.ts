/** Builds a PV domain by hypercalls, as Xen's own toolstack does (libxl, libxenguest): empty domain, memory, start of day, unpause. */
import { MAX_GUEST_CMDLINE, start_info, START_INFO_PFN } from '@iospace/abi'
import { mapForeign, unmapForeign, type Kernel } from '@iospace/linux'
import { ConfigError, StateError } from '@iospace/wire'
import type { DomainControl } from './domain-control.ts'
import { must } from './failure.ts'

export interface DomainConfig {
  /** For people, and for the domain's node in xenstore. */
  readonly name: string
  /** Pfns 0…`pages`−1 are its memory; pfn 0 stays empty. */
  readonly pages: number
  /** What the kernel is told: `init=` names the program. */
  readonly commandLine: string
}

export interface BuiltDomain {
  readonly domid: number
  readonly name: string
  /** Machine frame of its xenstore page, and its end of the event channel: what INTRODUCE takes. */
  readonly storeFrame: number
  readonly storePort: number
}

/** Where the xenstore page lies in a new domain. */
const STORE_PFN = START_INFO_PFN + 1

/**
 * A domain that is ready to run but paused: limits and devices come next, then {@link DomainControl.unpause}. StateError when the
 * hypervisor refuses a step; then nothing is left of the domain.
 */
export function buildDomain(kernel: Kernel, control: DomainControl, config: DomainConfig): BuiltDomain {
  const { name, pages, commandLine } = config
  if (commandLine.length >= MAX_GUEST_CMDLINE)
    throw new ConfigError('commandLine', commandLine, `is longer than ${MAX_GUEST_CMDLINE - 1} bytes`)
  const what = `domain ${name}`
  const domid = must(what, 'create it', control.create(handleOf(name)))
  try {
    must(what, 'set its memory limit', control.setMaxMemory(domid, pages))
    const frames = control.populate(domid, START_INFO_PFN, pages - START_INFO_PFN)
    if (typeof frames === 'number') throw new StateError(what, `there are not ${pages} free pages for it`)
    const storeFrame = frames[STORE_PFN - START_INFO_PFN]!
    const storePort = must(what, 'give it an event channel', control.allocatePort(domid))
    const value = {
      ...start_info.zero(),
      nr_pages: BigInt(pages),
      store_mfn: BigInt(storeFrame),
      store_evtchn: storePort,
    }
    value.magic.set(ascii('xen-3.0-x86_64'))
    value.cmd_line.set(ascii(commandLine))
    const page = mapForeign(kernel.hypercalls, kernel.memory, domid, [frames[0]!])
    if (typeof page === 'number') throw new StateError(what, 'its first page cannot be mapped')
    page.writeStruct(start_info, value)
    unmapForeign(kernel.hypercalls, kernel.memory, page)
    return { domid, name, storeFrame, storePort }
  } catch (error) {
    control.destroy(domid)
    throw error
  }
}

/** The name in place of a UUID: whoever looks at a domain from below knows which it is. */
function handleOf(name: string): Uint8Array {
  const handle = new Uint8Array(16)
  handle.set(ascii(name).subarray(0, handle.length))
  return handle
}

function ascii(text: string): Uint8Array {
  const codes = Array.from(text, (character) => character.charCodeAt(0))
  if (codes.some((code) => code === 0 || code > 0x7e)) throw new ConfigError('domain', text, 'is not plain ASCII')
  return Uint8Array.from(codes)
}
