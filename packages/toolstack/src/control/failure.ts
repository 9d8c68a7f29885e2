import { errnoName } from '@iospace/abi'
import { StateError } from '@iospace/wire'

/** Passes a result on; StateError (`what: cannot step: ENOMEM`) for a negative errno. For steps that a control domain cannot go on without. */
export function must(what: string, step: string, result: number): number {
  if (result < 0) throw new StateError(what, `cannot ${step}: ${errnoName(result) ?? result}`)
  return result
}
