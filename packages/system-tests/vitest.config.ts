import preset from '@iospace/config/vitest'
import { mergeConfig } from 'vitest/config'

/** Whole systems, several at once: on a busy machine one takes its time, and no test here is about time. */
export default mergeConfig(preset, { test: { testTimeout: 60_000 } })
