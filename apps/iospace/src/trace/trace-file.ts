import { closeSync, openSync, writeSync } from 'node:fs'
import { reasonOf } from '../files/reason.ts'
import type { TextSink } from './chrome-trace.ts'

/**
 * A text file written in large pieces. It never throws after it is open: a full disk must not stop the run that is traced; the first
 * failure is kept in `problem`, and nothing is written after it.
 */
export class TraceFile implements TextSink, Disposable {
  readonly path: string
  /** Why the file is not whole, for people; null while it is. */
  problem: string | null = null
  #fd: number
  #pieces: string[] = []
  #length = 0

  /** Creates or empties the file; throws what `openSync` throws. */
  constructor(path: string) {
    this.path = path
    this.#fd = openSync(path, 'w')
  }

  write(text: string): void {
    this.#pieces.push(text)
    this.#length += text.length
    if (this.#length > 1 << 20) this.#flush()
  }

  close(): void {
    if (this.#fd < 0) return
    this.#flush()
    closeSync(this.#fd)
    this.#fd = -1
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #flush(): void {
    const bytes = Buffer.from(this.#pieces.join(''))
    this.#pieces = []
    this.#length = 0
    try {
      for (let at = 0; at < bytes.length && this.problem === null;) at += writeSync(this.#fd, bytes, at)
    } catch (error) {
      this.problem = reasonOf(error)
    }
  }
}
