/** `XEN_DOMCTL_getdomaininfo`. */
import type { Value } from '@iospace/wire'
import { XEN_DOMINF, type domctl_getdomaininfo } from '@iospace/abi'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'

/** Fills in the first domain whose id is at least the envelope's; false when there is none. */
export function fillInfo(core: Core, argument: Value<typeof domctl_getdomaininfo>): boolean {
  const domain = core.domains.find((one, id) => one !== undefined && id >= argument.domain)
  if (domain === undefined) return false
  argument.domain = domain.domid
  const { u } = argument
  u.domain = domain.domid
  u.flags = flagsOf(domain)
  u.tot_pages = BigInt(core.frames.owned[domain.domid]!)
  u.max_pages = BigInt(domain.maxPages)
  u.outstanding_pages = 0n
  u.shr_pages = 0n
  u.paged_pages = 0n
  u.shared_info_frame = BigInt(core.mfn(domain.sharedInfo))
  u.cpu_time = 0n
  u.nr_online_vcpus = 1
  u.max_vcpu_id = 0
  u.ssidref = 0
  u.handle = domain.handle
  u.cpupool = 0
  u.gpaddr_bits = 0
  u.arch_config = { emulation_flags: 0, misc_flags: 0 }
  return true
}

function flagsOf(domain: Domain): number {
  switch (domain.life) {
    case 'building':
    case 'paused':
      return XEN_DOMINF.paused
    case 'running':
      return XEN_DOMINF.running
    case 'shutdown':
      return XEN_DOMINF.shutdown | (domain.shutdownReason << XEN_DOMINF.shutdownshift)
    default:
      return XEN_DOMINF.dying | (domain.shutdownReason << XEN_DOMINF.shutdownshift)
  }
}
