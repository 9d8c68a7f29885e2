/** The C side of a ratio: a program of `c/`, compiled on the spot with the options that the goals name. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** One operation as a C program measured it. */
export interface CMeasure {
  /** Ns: the 10th percentile of many short samples, as `samples.ts` takes it of ours. */
  readonly ns: number
  /** What the operations added up to, modulo 2^32: equal to ours, or the two do not do the same work. */
  readonly sum: number
}

export class CProgram {
  readonly #folder: string
  readonly #program: string

  private constructor(folder: string, program: string) {
    this.#folder = folder
    this.#program = program
  }

  /** Compiles `c/NAME.c`; a string says why that is not possible here. */
  static compile(name: string): CProgram | string {
    if (spawnSync('gcc', ['--version']).status !== 0) return 'gcc is not installed'
    const folder = mkdtempSync(join(tmpdir(), 'iospace-bench-'))
    const source = fileURLToPath(new URL(`../c/${name}.c`, import.meta.url))
    const program = join(folder, name)
    const { status, stderr } = spawnSync('gcc', ['-O2', '-pthread', '-o', program, source, '-lm'], { encoding: 'utf8' })
    if (status === 0) return new CProgram(folder, program)
    rmSync(folder, { recursive: true })
    return `gcc cannot compile ${name}.c: ${stderr.trim().split('\n')[0]}`
  }

  /** Runs the program; its measures by name. `only`: the one operation to measure. */
  run(only?: string): Readonly<Record<string, CMeasure>> {
    const env = only === undefined ? process.env : { ...process.env, BENCH_ONLY: only }
    const lines = execFileSync(this.#program, { encoding: 'utf8', env }).trim().split('\n')
    return Object.fromEntries(
      lines.map((line) => {
        const { name, p10, sum } = JSON.parse(line) as { name: string; p10: number; sum: number }
        return [name, { ns: p10, sum }]
      }),
    )
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
