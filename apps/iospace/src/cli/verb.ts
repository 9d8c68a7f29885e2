import type { Host } from './host.ts'
import type { OptionSpecs } from './options.ts'

/** One thing that the command line can do. A new one is a file and a line in `verbs.ts`. */
export interface Verb {
  /** Its words: `run storage`. */
  readonly name: string
  /** One line for the list of verbs. */
  readonly summary: string
  /** The words that it takes beside its options, as its help names them: `FILE.json`. */
  readonly operands?: string
  readonly options: OptionSpecs
  /** Text below the options in its help. */
  readonly notes?: string
  /** Does it; returns the exit status: 0, or 1 for a failed run. UsageError for a command line that makes no sense, FileError for such a file. */
  run(host: Host, argv: readonly string[]): Promise<number>
}
