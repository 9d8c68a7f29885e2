import { realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Whether two paths lead to one file, or would: also where it does not exist yet. */
export function sameFile(a: string, b: string): boolean {
  const [one, other] = [a, b].map((path) => statSync(path, { throwIfNoEntry: false }))
  if (one !== undefined && other !== undefined) return one.dev === other.dev && one.ino === other.ino
  return placeOf(a) === placeOf(b)
}

/** A path without links in its folder; as it is where there is no such folder. */
function placeOf(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path))
  } catch {
    return path
  }
}
