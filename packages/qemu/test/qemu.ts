/** The QEMU of this host, for tests: where there is none they are skipped, and the reason is printed once. */
import { test } from 'vitest'
import { findQemu } from '../src/index.ts'

export const qemu = findQemu()
if (!qemu.ok) console.warn(`skipped, no QEMU: ${qemu.reason}`)

/** `test` where there is a QEMU. */
export const qemuTest = test.skipIf(!qemu.ok)
/** Its program; only for bodies of {@link qemuTest}. */
export const qemuPath = qemu.ok ? qemu.path : ''
