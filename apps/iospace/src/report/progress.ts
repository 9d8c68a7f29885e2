import type { Terminal } from '../cli/host.ts'
import { bytes, rate } from './units.ts'

/** Host milliseconds between two drawings. */
const INTERVAL = 100

/** A bar on the error stream of a terminal, so that the report stays clean; nothing anywhere else. */
export class Progress implements Disposable {
  readonly #terminal: Terminal
  readonly #now: () => number
  readonly #start: number
  #drawn = -Infinity
  #shown = false

  constructor(terminal: Terminal, now: () => number, wanted: boolean) {
    this.#terminal = terminal
    this.#now = now
    this.#start = now()
    if (!wanted || !terminal.isTerminal) this.#drawn = Infinity
  }

  /** `done` of `total` bytes. Cheap to call often. */
  update(what: string, done: number, total: number): void {
    const now = this.#now()
    if (now - this.#drawn < INTERVAL) return
    this.#drawn = now
    this.#shown = true
    const share = total === 0 ? 1 : done / total
    const text = ` ${(share * 100).toFixed(0).padStart(3)} %  ${what} ${bytes(done)} of ${bytes(total)}, ${rate(done, now - this.#start)}`
    const width = Math.max(0, Math.min(30, this.#terminal.columns - text.length - 3))
    const filled = Math.round(share * width)
    const bar = width < 5 ? '' : `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}]`
    this.#terminal.write(`\r\u001B[K${bar}${text}`.slice(0, this.#terminal.columns + 4))
  }

  /** Clears the line. */
  [Symbol.dispose](): void {
    if (this.#shown) this.#terminal.write('\r\u001B[K')
    this.#shown = false
  }
}
