/** Looks for a QEMU that this package can use. */
import { spawnSync } from 'node:child_process'

export type QemuVersion = readonly [major: number, minor: number, micro: number]

/** A usable QEMU, or why there is none. */
export type FoundQemu =
  | { readonly ok: true; readonly path: string; readonly version: QemuVersion }
  | { readonly ok: false; readonly reason: string }

/** The oldest version whose answers were compared with the models. */
const OLDEST: readonly [number, number] = [7, 2]

/** The program that `path` names: by default `IOSPACE_QEMU`, else `qemu-system-x86_64` on the path. Never throws. */
export function findQemu(path = process.env['IOSPACE_QEMU'] ?? 'qemu-system-x86_64'): FoundQemu {
  if (process.platform === 'win32') return { ok: false, reason: 'this system has no named pipes that QEMU could use' }
  const { error, status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 30_000 })
  if (error !== undefined)
    return { ok: false, reason: `${path} does not run (${(error as NodeJS.ErrnoException).code})` }
  const numbers = /version (\d+)\.(\d+)\.(\d+)/.exec(stdout)
  if (status !== 0 || numbers === null) return { ok: false, reason: `${path} does not tell its version` }
  const version: QemuVersion = [Number(numbers[1]), Number(numbers[2]), Number(numbers[3])]
  if (version[0] < OLDEST[0] || (version[0] === OLDEST[0] && version[1] < OLDEST[1]))
    return { ok: false, reason: `${path} is QEMU ${version.join('.')}; ${OLDEST.join('.')} or newer is needed` }
  return { ok: true, path, version }
}
