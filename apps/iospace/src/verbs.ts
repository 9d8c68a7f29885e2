import type { Verb } from './cli/verb.ts'
import { storageVerb } from './storage/verb.ts'
import { walkVerb } from './walk/verb.ts'

/** Everything that the command line can do. */
export const VERBS: readonly Verb[] = [storageVerb, walkVerb]
