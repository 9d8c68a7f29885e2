/** What a benchmark is: some things that are measured in turn, and goals for the ratios between them. */

export interface Goal {
  /** What a reader of the table is told. */
  readonly name: string
  /** Names of two measures: ours, and what it is compared with. */
  readonly subject: string
  readonly baseline: string
  /**
   * `at most`: subject / baseline must not exceed `must` (cost). `at least`: baseline / subject must reach it (speed).
   */
  readonly sense: 'at most' | 'at least'
  /** Null: reported beside the others, without a goal. */
  readonly must: number | null
  readonly stretch: number | null
}

export interface Session {
  /** Measures that cannot be made here, with the reason. */
  readonly missing: Readonly<Record<string, string>>
  /** One round: every measure once, in ns per operation (or the benchmark's unit). */
  round(): Promise<Readonly<Record<string, number>>>
  /** Removes what the session left on disk. */
  end(): void
}

export interface Benchmark {
  /** As in the table of goals. */
  readonly id: string
  /** Other names on the command line. */
  readonly aliases: readonly string[]
  readonly title: string
  /** What is measured; ns per operation by default. */
  readonly unit?: 'bytes'
  readonly goals: readonly Goal[]
  /** Null while what it measures does not exist yet. */
  readonly start: (() => Promise<Session>) | null
}

/** A line of the table, and of the JSON file. */
export interface Row {
  readonly id: string
  readonly name: string
  /** ns per operation (or the benchmark's unit): ours and the baseline's. */
  readonly ns: number
  readonly baselineNs: number
  readonly ratio: number
  readonly goal: number | null
  readonly stretch: number | null
  readonly pass: boolean
}

/** A goal that could not be measured. */
export interface Skip {
  readonly id: string
  readonly name: string
  readonly reason: string
}

export type Result = Row | Skip
