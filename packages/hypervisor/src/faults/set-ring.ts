/** Taking a fault ring into use and giving it back: its frames are the domain's own, held with a writable type. */
import { Errno } from '@iospace/abi'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'

/** Holds the frames of a ring and puts it in the place of the old one: 0, `ENXIO`, `EACCES`. */
export function takeFaultRing(core: Core, domain: Domain, control: number, pages: readonly number[]): number {
  const held: number[] = []
  for (const index of [control, ...pages]) {
    const owned = core.frames.get(index, domain.domid)
    if (owned && core.frames.getWritable(index)) {
      held.push(index)
      continue
    }
    if (owned) core.frames.put(index)
    drop(core, held)
    return owned ? -Errno.EACCES : -Errno.ENXIO
  }
  dropFaultRing(core, domain)
  domain.faultRing = { control, pages, producer: 0, lost: 0 }
  return 0
}

/** Gives the ring's frames back. */
export function dropFaultRing(core: Core, domain: Domain): void {
  const ring = domain.faultRing
  if (ring === null) return
  domain.faultRing = null
  drop(core, [ring.control, ...ring.pages])
}

function drop(core: Core, frames: readonly number[]): void {
  for (const index of frames) {
    core.frames.putWritable(index)
    core.frames.put(index)
  }
}
