/**
 * From the platform to a kernel: reads start_info, takes the page allocator into use, maps shared_info and the grant table, and
 * opens the xenstore connection (Linux arch/x86/xen/enlighten_pv.c, in this order).
 */
import { SIF, start_info, START_INFO_PFN } from '@iospace/abi'
import { ConfigError, StateError } from '@iospace/wire'
import { CommandLine } from './command-line.ts'
import { Kernel, type XenServices } from './kernel.ts'
import { KernelMemory } from './memory/kernel-memory.ts'
import type { KernelBuffer } from './memory/kernel-buffer.ts'
import type { Platform } from './platform.ts'
import { mapSharedInfo } from './xen/add-to-physmap.ts'
import { EventChannels } from './xen/events.ts'
import { GrantTable } from './xen/grant-table.ts'
import { Hypercalls } from './xen/hypercalls.ts'
import { XenstoreClient } from './xen/xenbus/xenstore-client.ts'

/** What firmware and a boot loader would tell a kernel on bare metal. */
export interface BareMetalBoot {
  readonly commandLine: string
  /** Pages 0…`pages`−1 are memory. Page 0 is not used. */
  readonly pages: number
}

/** Grant frames that a kernel asks for: 16,384 references. */
const GRANT_FRAMES = 32

/**
 * Boots a kernel. As a domain everything comes from start_info; on bare metal from `bare`. ConfigError when neither is there,
 * StateError when the hypervisor refuses what no kernel can do without. Called once per platform, outside any task or inside one.
 */
export function bootKernel(platform: Platform, bare?: BareMetalBoot): Kernel {
  return platform.hypercall === null ? bootBare(platform, bare) : bootDomain(platform, platform.hypercall)
}

function bootBare(platform: Platform, bare: BareMetalBoot | undefined): Kernel {
  if (bare === undefined) throw new ConfigError('bare', undefined, 'is needed where there is no hypervisor')
  return new Kernel(
    platform,
    new CommandLine(bare.commandLine),
    new KernelMemory(platform.memory, bare.pages, [0]),
    bare.pages,
    null,
  )
}

function bootDomain(platform: Platform, gate: NonNullable<Platform['hypercall']>): Kernel {
  const at = platform.memory.frameOffset(START_INFO_PFN)
  if (at < 0) throw new StateError(platform.name, 'has no start_info page')
  const info = start_info.read(platform.memory.view, at)
  const nrPages = Number(info.nr_pages)
  const storePfn = pfnOfMfn(platform, nrPages, Number(info.store_mfn))
  const consolePfn = pfnOfMfn(platform, nrPages, Number(info.console_mfn))
  const memory = new KernelMemory(platform.memory, nrPages, [0, START_INFO_PFN, storePfn, consolePfn])

  const hypercalls = new Hypercalls(gate, page(memory))
  const sharedInfo = mapSharedInfo(hypercalls, memory)
  if (sharedInfo < 0) throw new StateError(platform.name, `cannot map shared_info: error ${sharedInfo}`)
  const events = new EventChannels(hypercalls, platform.memory, platform.tasks, sharedInfo, page(memory))
  platform.onUpcall(() => events.upcall())
  const grants = GrantTable.map(hypercalls, memory, GRANT_FRAMES)

  const xenstore =
    info.store_evtchn === 0 || storePfn < 0
      ? null
      : new XenstoreClient(memory.window(storePfn), info.store_evtchn, events, platform.tasks.scheduler)
  const xen: XenServices = { hypercalls, events, grants, xenstore, initialDomain: (info.flags & SIF.INITDOMAIN) !== 0 }
  return new Kernel(platform, new CommandLine(textOf(info.cmd_line)), memory, nrPages, xen)
}

function page(memory: KernelMemory): KernelBuffer {
  const buffer = memory.allocate(4096)
  if (buffer === null) throw new StateError('boot', 'no page of memory is free')
  return buffer
}

// PV domains are told machine frames; the machine-to-physical table is not mapped here, so look through the domain's own pages.
function pfnOfMfn(platform: Platform, nrPages: number, mfn: number): number {
  if (mfn === 0) return -1
  for (let pfn = 0; pfn < nrPages; pfn++) if (platform.memory.machineFrame(pfn) === mfn) return pfn
  return -1
}

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}
