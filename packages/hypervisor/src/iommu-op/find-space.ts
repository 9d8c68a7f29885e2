/** The space that a sub-op names. */
import { DEFAULT_KIND, Errno, SPACE_DEFAULT } from '@iospace/abi'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { demandDefault } from '../io-space/default-space.ts'
import type { Space } from '../io-space/space.ts'

/** A space that can be modified; `ENOENT`, `EPERM` for a mirror, or why the default space could not be made. */
export function findSpace(core: Core, domain: Domain, id: number): Space | number {
  const space = domain.spaces.get(id)
  if (space !== undefined) return space
  if (id !== SPACE_DEFAULT) return -Errno.ENOENT
  if (domain.defaultKind === DEFAULT_KIND.MIRROR) return -Errno.EPERM
  const rc = demandDefault(core, domain)
  return rc === 0 ? domain.spaces.get(SPACE_DEFAULT)! : rc
}
