/** What must happen however the process ends: at its normal end, on Ctrl-C and its like, and when the watchdog ends it. */
import process from 'node:process'

const steps = new Set<() => void>()
let installed = false

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

/** Runs `step` (synchronous) before the process ends, unless the returned function was called first. */
export function beforeExit(step: () => void): () => void {
  if (!installed) {
    installed = true
    process.on('exit', () => steps.forEach((each) => each()))
    for (const [signal, status] of Object.entries(SIGNALS)) process.once(signal, () => process.exit(status))
  }
  steps.add(step)
  return () => steps.delete(step)
}
