/** Sub-op 22, `set_default`: the domain confines itself: its default space is empty from now on, and its devices see nothing until it maps. */
import { DEFAULT_KIND, Errno, SPACE_DEFAULT, iommu_set_default } from '@iospace/abi'
import { moveRequester } from '../assignment/assign.ts'
import type { Device } from '../assignment/device.ts'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { ensureDefault } from '../io-space/default-space.ts'
import { destroySpace } from '../io-space/destroy.ts'
import { decode } from './argument.ts'

export function setDefault(call: Call, domain: Domain): number {
  const { core } = call
  if (decode(call, iommu_set_default).kind !== DEFAULT_KIND.EMPTY) return -Errno.EINVAL
  if (domain.defaultKind === DEFAULT_KIND.EMPTY || domain.pinned > 0 || domain.maptrack.used > 0) return -Errno.EBUSY
  const { mirror } = domain
  domain.mirror = null
  domain.defaultKind = DEFAULT_KIND.EMPTY
  // Before anything was attached there is nothing to make yet.
  const used = mirror !== null || domain.devices.some((device) => device.space === SPACE_DEFAULT)
  let rc = used ? ensureDefault(core, domain) : 0
  const moved: Device[] = []
  for (const device of domain.devices) {
    if (rc !== 0 || mirror === null || device.space !== SPACE_DEFAULT) continue
    rc = moveRequester(core, domain, device, 0)
    if (rc === 0) moved.push(device)
  }
  if (rc !== 0) {
    // All or nothing: those that were moved go back.
    const empty = domain.spaces.get(SPACE_DEFAULT)
    domain.spaces.remove(SPACE_DEFAULT)
    domain.mirror = mirror
    domain.defaultKind = DEFAULT_KIND.MIRROR
    let back = rc
    for (const device of moved) if (moveRequester(core, domain, device, 0) !== 0) back = -Errno.EIO
    if (empty !== undefined && !destroySpace(core, empty)) back = -Errno.EIO
    return back
  }
  domain.defaultSettled = true
  mirror?.destroy()
  return 0
}
