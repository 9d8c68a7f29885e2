/**
 * The file that a run writes: `FILE.partial` until all of it is there and on the disk, then renamed. Whatever goes wrong, a file named
 * FILE is whole.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
  type Stats,
} from 'node:fs'
import { dirname } from 'node:path'
import { StoreStatus, type BlockStore } from '@iospace/devices'
import { UsageError } from '../cli/errors.ts'
import { reasonOf } from './reason.ts'

export class OutputFile implements BlockStore, Disposable {
  readonly readOnly = false
  readonly path: string
  readonly partialPath: string
  /** True length of what will be in it. */
  readonly bytes: number
  /** Why a write failed, as a sentence; null while none has. */
  problem: string | null = null
  #fd: number

  private constructor(path: string, bytes: number) {
    this.path = path
    this.partialPath = `${path}.partial`
    this.bytes = bytes
    // A left-over, or a link that somebody put there, is not written through.
    rmSync(this.partialPath, { force: true })
    this.#fd = openSync(this.partialPath, 'wx+')
  }

  /** Creates `path`.partial. UsageError where `path` cannot become a file, or is one of `inputs`. */
  static create(option: string, path: string, bytes: number, inputs: readonly string[]): OutputFile {
    const existing = statOf(path)
    if (existing?.isDirectory()) throw new UsageError(`${option} ${path} is a folder, not a file`)
    if (existing !== null && !existing.isFile()) throw new UsageError(`${option} ${path} is not a plain file`)
    for (const input of inputs) {
      const other = statSync(input)
      for (const mine of [existing, statOf(`${path}.partial`)]) {
        if (mine !== null && mine.dev === other.dev && mine.ino === other.ino)
          throw new UsageError(`${option} ${path} would overwrite ${input}, which is read`)
      }
    }
    try {
      return new OutputFile(path, bytes)
    } catch (error) {
      throw new UsageError(`${option} ${path} cannot be written: ${reasonOf(error)}`)
    }
  }

  /** Reads back; what was never written reads as zeros. */
  read(offset: number, target: Uint8Array, at: number, length: number): number {
    try {
      let done = 0
      for (let got = -1; done < length && got !== 0; done += got) {
        got = readSync(this.#fd, target, at + done, length - done, offset + done)
      }
      target.fill(0, at + done, at + length)
      return StoreStatus.ok
    } catch (error) {
      return this.#failed('read', error)
    }
  }

  write(offset: number, source: Uint8Array, at: number, length: number): number {
    try {
      for (let done = 0; done < length;) done += writeSync(this.#fd, source, at + done, length - done, offset + done)
      return StoreStatus.ok
    } catch (error) {
      return this.#failed('written', error)
    }
  }

  flush(): number {
    try {
      fsyncSync(this.#fd)
      return StoreStatus.ok
    } catch (error) {
      return this.#failed('written', error)
    }
  }

  /** Makes the file last and gives it its name, if all of it was written without an error. False, with `problem`, otherwise. */
  finish(): boolean {
    if (this.problem !== null) return false
    try {
      const { size } = fstatSync(this.#fd)
      if (size !== this.bytes) {
        this.problem = `${this.partialPath} has ${size} of ${this.bytes} bytes`
        return false
      }
      fsyncSync(this.#fd)
      this.#close()
      renameSync(this.partialPath, this.path)
      syncFolder(dirname(this.path))
      return true
    } catch (error) {
      this.#failed('written', error)
      return false
    }
  }

  /** Takes the file away again: nothing was run. */
  discard(): void {
    this.#close()
    rmSync(this.partialPath, { force: true })
  }

  /** Closes the file; without {@link finish} it stays what it is, partial. */
  [Symbol.dispose](): void {
    this.#close()
  }

  #close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }

  #failed(what: string, error: unknown): number {
    this.problem ??= `${this.partialPath} cannot be ${what}: ${reasonOf(error)}`
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG' ? StoreStatus.full : StoreStatus.io
  }
}

function statOf(path: string): Stats | null {
  return lstatSync(path, { throwIfNoEntry: false }) ?? null
}

/** A rename is on the disk once its folder is. */
function syncFolder(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
