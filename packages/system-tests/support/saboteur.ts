/** Accidents at moments that a domain does not choose: done by the host, between tasks, at given virtual times. */
import type { System } from '@iospace/lab'
import type { TaskGroup } from '@iospace/machine'

/** Does `act` as soon as `when` is true, looking every `period` ns, at most `tries` times. */
export function once(
  host: TaskGroup,
  when: () => boolean,
  act: () => void,
  { period = 2000, tries = 20_000 } = {},
): void {
  host.spawn(
    'host/accident',
    async () => {
      for (let i = 0; i < tries; i++) {
        if (when()) return act()
        await host.scheduler.sleep(period)
      }
      throw new Error('the moment for the accident never came')
    },
    { daemon: true },
  )
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

/** More than a ring, and a fault ring: requests are under way. */
export const isBusy = (system: System, domid: number): boolean => pagesInUse(system, domid) > 11
