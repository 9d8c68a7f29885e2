/** Personalities that no silicon has: those that exist, with other capability registers. */
import type { VtdPersonality } from '../../src/hardware.ts'
import { vtd } from '../../src/spec.ts'

/** `base` with `changes`; its capabilities are decoded anew. */
export function custom(base: VtdPersonality, changes: Partial<VtdPersonality>): VtdPersonality {
  const made = { ...base, ...changes }
  return { ...made, capabilities: vtd.decodeCapabilities(made) }
}
