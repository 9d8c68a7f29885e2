/** The disk image of a run: a file of the user's, or one made from the seed for the time of the run. */
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StoreStatus, type BlockStore } from '@iospace/devices'
import { Random } from '@iospace/machine'
import { HostError, UsageError } from '../cli/errors.ts'
import { beforeExit } from './cleanup.ts'
import { reasonOf } from './reason.ts'

/** Bytes of the image that is made where none is given. */
export const DEMO_IMAGE_BYTES = 32 << 20

export class ImageFile implements BlockStore, Disposable {
  readonly readOnly = true
  readonly path: string
  /** Length when it was opened: what a run serves. */
  readonly bytes: number
  /** Why a read failed, as a sentence; null while none has. */
  problem: string | null = null
  readonly #fd: number
  /** When it was last written to, at the time when it was opened. */
  readonly #written: number
  readonly #release: () => void

  private constructor(path: string, fd: number, release: () => void) {
    const { size, mtimeMs } = fstatSync(fd)
    this.path = path
    this.bytes = size
    this.#written = mtimeMs
    this.#fd = fd
    this.#release = release
  }

  /** Opens a file of the user's. UsageError where that cannot be a disk image: missing, unreadable, a folder, a pipe. */
  static open(option: string, path: string): ImageFile {
    try {
      // Before it is opened: opening a pipe waits for its other end.
      const stat = statSync(path)
      if (stat.isDirectory()) throw new UsageError(`${option} ${path} is a folder, not a file`)
      if (!stat.isFile()) throw new UsageError(`${option} ${path} is not a plain file`)
      const image = new ImageFile(path, openSync(path, 'r'), () => undefined)
      if (image.bytes > 0 || readSync(image.#fd, new Uint8Array(1), 0, 1, 0) === 0) return image
      image[Symbol.dispose]()
      // Files of /proc and the like: their length is 0, and yet they have bytes.
      throw new UsageError(`${option} ${path} does not tell its length`)
    } catch (error) {
      if (error instanceof UsageError) throw error
      throw new UsageError(`${option} ${path} cannot be read: ${reasonOf(error)}`)
    }
  }

  /**
   * Makes `bytes` pseudo-random bytes from `seed` in a folder of their own, which goes away with this object or the process. HostError
   * where there is no room for them.
   */
  static fromSeed(seed: number, bytes: number = DEMO_IMAGE_BYTES): ImageFile {
    let folder: string
    try {
      folder = mkdtempSync(join(tmpdir(), 'iospace-'))
    } catch (error) {
      throw new HostError(`no disk image can be made in ${tmpdir()}: ${reasonOf(error)}`)
    }
    const remove = (): void => rmSync(folder, { recursive: true, force: true })
    const keep = beforeExit(remove)
    const release = (): void => {
      keep()
      remove()
    }
    try {
      const path = join(folder, 'disk.img')
      writeRandom(path, seed, bytes)
      return new ImageFile(path, openSync(path, 'r'), release)
    } catch (error) {
      release()
      throw new HostError(`a disk image of ${bytes} bytes cannot be made in ${tmpdir()}: ${reasonOf(error)}`)
    }
  }

  /**
   * Reads straight into `target`, which is machine memory. The host's failures, and a file that has become shorter than it was, are
   * an answer to the device, with the reason for people in `problem`.
   */
  read(offset: number, target: Uint8Array, at: number, length: number): number {
    try {
      for (let done = 0; done < length;) {
        const got = readSync(this.#fd, target, at + done, length - done, offset + done)
        if (got === 0) {
          const now = fstatSync(this.#fd).size
          this.problem ??= `${this.path} became shorter while it was read: ${now} of ${this.bytes} bytes are left`
          return StoreStatus.short
        }
        done += got
      }
      return StoreStatus.ok
    } catch (error) {
      this.problem ??= `${this.path} cannot be read: ${reasonOf(error)}`
      return StoreStatus.io
    }
  }

  /** Somebody has written to it since it was opened. */
  get changed(): boolean {
    return fstatSync(this.#fd).mtimeMs !== this.#written
  }

  write(): number {
    return StoreStatus.readOnly
  }

  flush(): number {
    return StoreStatus.ok
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
    this.#release()
  }
}

function writeRandom(path: string, seed: number, bytes: number): void {
  const random = new Random(seed)
  const words = new Uint32Array(1 << 18)
  const piece = Buffer.from(words.buffer)
  const fd = openSync(path, 'wx')
  try {
    for (let done = 0; done < bytes;) {
      for (let i = 0; i < words.length; i++) words[i] = random.next()
      const length = Math.min(piece.length, bytes - done)
      for (let at = 0; at < length;) at += writeSync(fd, piece, at, length - at)
      done += length
    }
  } finally {
    closeSync(fd)
  }
}
