/** Accidents at moments that a domain does not choose: done by the host, between tasks, at given virtual times. */
import type { System } from '@iospace/lab'
import type { TaskGroup } from '@iospace/machine'

/**
 * Does `act` between two tasks as soon as `when` was true, which is looked at every `period` ns of virtual time, whatever runs then; and
 * after `tries` looks in any case, so that the run comes to its end and the test fails.
 */
export function once(
  host: TaskGroup,
  when: () => boolean,
  act: () => void,
  { period = 2000, tries = 20_000 } = {},
): void {
  const { clock } = host.scheduler
  let left = tries
  const look = (): void => {
    const late = --left === 0
    if (!late && !when()) {
      clock.after(period, look)
      return
    }
    host.spawn('host/accident', async () => {
      act()
      if (late) throw new Error('the moment for the accident never came')
    })
  }
  clock.after(period, look)
}

/** The domain stops at once, as a panic would stop it: nothing is cleaned up. */
export function panic(system: System, domid: number): void {
  system.hypervisor.view(domid)?.tasks.crash(new Error('panic'), null)
}

/** Pages of `domid` that somebody has mapped for writing: of a guest that reads its disk, those of requests under way, and its ring. */
export function pagesInUse(system: System, domid: number): number {
  const { oracle } = system.hypervisor
  return oracle.framesOf(domid).filter((mfn) => oracle.frame(mfn)!.typeCount > 0).length
}

/** A moment at which all of `domids` have been busy at least once, and the first is, for the `times`th look. */
export function busyMoment(system: System, domids: readonly number[], times: number): () => boolean {
  const waiting = new Set(domids)
  let looks = 0
  return () => {
    for (const domid of waiting) if (isBusy(system, domid)) waiting.delete(domid)
    return waiting.size === 0 && isBusy(system, domids[0]!) && ++looks >= times
  }
}

/** More than a ring, and a fault ring: requests are under way. */
export const isBusy = (system: System, domid: number): boolean => pagesInUse(system, domid) > 11
