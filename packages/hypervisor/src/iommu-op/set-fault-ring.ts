/** Sub-op 14, `set_fault_ring`: where the calling domain wants its faults. */
import { Errno, iommu_fault_control, iommu_set_fault_ring } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { dropFaultRing, takeFaultRing } from '../faults/set-ring.ts'
import { decode } from './argument.ts'

/** Record pages of the largest ring. */
const MOST_PAGES = 64

export function setFaultRing(call: Call, domain: Domain): number {
  const { core, words: w, listAt, elements } = call
  const { control_gfn: control } = decode(call, iommu_set_fault_ring)
  const { count } = elements
  if (count === 0) {
    if (control !== 0n) return -Errno.EINVAL
    dropFaultRing(core, domain)
    return 0
  }
  if (count > MOST_PAGES || (count & (count - 1)) !== 0) return -Errno.EINVAL
  const gfns: number[] = [Number(control)]
  for (let i = 0; i < count; i++) {
    if (elements.unknownTail(i, 8)) return -Errno.E2BIG
    gfns.push((w[(listAt >>> 2) + 2 * i + 1]! >>> 0) * 2 ** 32 + (w[(listAt >>> 2) + 2 * i]! >>> 0))
  }
  if (new Set(gfns).size !== gfns.length) return -Errno.EINVAL
  const [controlIndex, ...pages] = gfns.map((gfn) => core.memory.frameIndex(gfn))
  const rc = takeFaultRing(core, domain, controlIndex!, pages)
  if (rc !== 0) return rc
  // Both sides begin at 0; what the guest left in the words is not believed.
  const { offsets } = iommu_fault_control
  for (const at of [offsets.producer, offsets.lost, offsets.consumer]) core.guest.store32(controlIndex!, at, 0)
  return 0
}
