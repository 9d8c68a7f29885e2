/** Sub-op 3, `create_space`: an empty space. What it returns is what every named device can do, fixed for its life. */
import { CREATE_SPACE_DEVICES, CREATE_SPACE_FLAGS as Flag, Errno, iommu_create_space } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { makeSpace } from '../io-space/default-space.ts'
import { accessKinds } from '../io-space/capabilities.ts'
import { MAX_IO_BITS } from '../io-space/space.ts'
import { answer, decode } from './argument.ts'

/** Ids are u32; the last one means “none”. */
const LAST_ID = 0xffff_fffe

export function createSpace(call: Call, domain: Domain): number {
  const { core } = call
  const { capabilities } = core.driver!
  const value = decode(call, iommu_create_space)
  const { device_count: count, devices } = value
  // Present in the ABI, not in this hypervisor yet.
  if ((value.flags & (Flag.FORWARD_PROGRESS | Flag.PORTABLE)) !== 0) return -Errno.EOPNOTSUPP
  const defers = (value.flags & Flag.DEFERRED) !== 0
  if (defers && domain.limits.maxDeferred === 0) return -Errno.EOPNOTSUPP
  if (count < 1 || count > CREATE_SPACE_DEVICES || devices.slice(count).some((device) => device !== 0))
    return -Errno.EINVAL
  if (value.max_mappings !== 0 || value.page_sizes !== 0n) return -Errno.EINVAL
  if (value.window_end !== 0n && value.window_end < value.window_start) return -Errno.EINVAL
  if (devices.slice(0, count).some((device) => core.devices.named(domain, device) === undefined)) return -Errno.ENODEV
  const width = Math.min(capabilities.addressBits, MAX_IO_BITS)
  const { window } = capabilities
  const highest = BigInt(Math.min(2 ** width, window.end)) - 1n
  const end = value.window_end === 0n || value.window_end > highest ? highest : value.window_end
  if (value.window_start < BigInt(window.first)) value.window_start = BigInt(window.first)
  // At least one whole page.
  if ((value.window_start + 0xfffn) / 4096n >= (end + 1n) / 4096n) return -Errno.ERANGE
  if (domain.spaceCount >= domain.limits.maxSpaces || domain.nextSpace > LAST_ID) return -Errno.ENOSPC
  const space = makeSpace(core, core.driver!, domain, domain.nextSpace, Number(value.window_start), Number(end), defers)
  if (typeof space === 'number') return space
  domain.nextSpace++
  domain.spaceCount++
  value.space = space.id
  value.window_start = BigInt(space.window.first) * 4096n
  value.window_end = BigInt(space.window.end) * 4096n - 1n
  value.page_sizes = BigInt(capabilities.pageSizes)
  value.address_width = width
  value.access_kinds = accessKinds(capabilities)
  answer(
    call,
    iommu_create_space,
    value,
    'space',
    'window_start',
    'window_end',
    'page_sizes',
    'address_width',
    'access_kinds',
  )
  return 0
}
