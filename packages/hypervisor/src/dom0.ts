/** Building the control domain: memory, its start_info page, every PCI function. */
import { ConfigError } from '@iospace/wire'
import { DOMID_CONTROL, MAX_GUEST_CMDLINE, SIF, START_INFO_PFN, start_info } from '@iospace/abi'
import { PAGE_SIZE } from '@iospace/machine'
import { adoptDevices } from './assignment/assign.ts'
import type { Core } from './core.ts'
import { DEFAULT_GRANT_FRAMES, DEFAULT_MAPTRACK_FRAMES, type DomainConfig, makeDomain } from './domctl/create.ts'
import { maxMem } from './domctl/memory.ts'
import type { Domain } from './domain.ts'
import { give } from './memory-op/reservation.ts'

const MAGIC = 'xen-3.0-x86_64'
const SPACES = 1024
const DEFERRED = 4096
/** 10 ms, as Linux's flush queue. */
const DEFERRED_AGE = 10_000_000

/** The control domain with `pages` pages, pfn 0 empty, not started yet. */
export function buildDom0(
  core: Core,
  pages: number,
  commandLine: string,
  config: Pick<DomainConfig, 'handle' | 'flags' | 'ports'>,
): Domain {
  const { frames } = core
  const domain = makeDomain(core, DOMID_CONTROL, {
    ...config,
    grantFrames: DEFAULT_GRANT_FRAMES,
    maptrackFrames: DEFAULT_MAPTRACK_FRAMES,
    limits: {
      maxSpaces: SPACES,
      maxPinned: frames.frames,
      maxTablePages: frames.frames,
      maxDeferred: DEFERRED,
      maxDeferredAge: DEFERRED_AGE,
      permissions: 0,
    },
  })
  if (domain === null || maxMem(core, domain, BigInt(pages) * 4n) !== 0)
    throw new ConfigError('dom0.pages', pages, 'are more than the machine has')
  for (let pfn = 1; pfn < pages; pfn++) {
    if (give(core, domain, 0, 64, pfn) < 0) throw new ConfigError('dom0.pages', pages, 'are more than the machine has')
  }
  writeStartInfo(core, domain, pages, commandLine)
  const status = adoptDevices(core, domain)
  if (status !== 0)
    throw new ConfigError('iommu', status, "is the error with which dom0's devices could not be attached")
  return domain
}

function writeStartInfo(core: Core, domain: Domain, pages: number, commandLine: string): void {
  const encoded = new TextEncoder().encode(commandLine)
  if (encoded.length >= MAX_GUEST_CMDLINE)
    throw new ConfigError('dom0.commandLine', encoded.length, `bytes do not fit ${MAX_GUEST_CMDLINE - 1}`)
  const value = start_info.zero()
  value.magic.set(new TextEncoder().encode(MAGIC))
  value.nr_pages = BigInt(pages)
  value.shared_info = BigInt(core.mfn(domain.sharedInfo)) * BigInt(PAGE_SIZE)
  value.flags = SIF.PRIVILEGED | SIF.INITDOMAIN
  value.cmd_line.set(encoded)
  core.guest.writeStruct(domain.p2m.frame(START_INFO_PFN), 0, start_info, value)
}
