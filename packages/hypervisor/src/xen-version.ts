/** `xen_version`: what this hypervisor says it is. Source: xen/common/kernel.c. */
import { Errno, XENFEAT, XENVER, XEN_VERSION, xen_feature_info } from '@iospace/abi'
import { PAGE_SIZE } from '@iospace/machine'
import type { Call } from './call.ts'

const PV_FEATURES =
  (1 << XENFEAT.mmu_pt_update_preserve_ad) | (1 << XENFEAT.highmem_assist) | (1 << XENFEAT.not_direct_mapped)

export function xenVersion(call: Call, command: number, pointer: number): number {
  switch (command) {
    case XENVER.version:
      return XEN_VERSION
    case XENVER.pagesize:
      return PAGE_SIZE
    case XENVER.get_features: {
      const info = call.read(xen_feature_info, pointer, true)
      if (info === null) return -Errno.EFAULT
      // Submap 0 is the only one that has bits.
      info.submap = info.submap_idx === 0 ? PV_FEATURES | (call.caller.privileged ? 1 << XENFEAT.dom0 : 0) : 0
      return call.write(xen_feature_info, pointer, info) ? 0 : -Errno.EFAULT
    }
    case XENVER.extraversion:
      return text(call, pointer, '.7-iospace', 16)
    case XENVER.capabilities:
      return text(call, pointer, 'xen-3.0-x86_64', 1024)
    default:
      return -Errno.ENOSYS
  }
}

/** Writes `value` and zeros, `bytes` in all. */
function text(call: Call, pointer: number, value: string, bytes: number): number {
  const { core } = call
  core.memory.fill(call.at, 0, bytes)
  for (let i = 0; i < value.length; i++) core.memory.bytes[call.at + i] = value.charCodeAt(i)
  return core.guest.copyOut(call.caller.p2m, call.at, pointer, bytes) ? 0 : -Errno.EFAULT
}
