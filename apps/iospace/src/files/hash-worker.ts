/** The worker behind `hashFile`. */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import type { FileHash } from './hash-file.ts'
import { reasonOf } from './reason.ts'

const PIECE = 1 << 20

function hash(path: string, bytes: number): FileHash {
  try {
    const fd = openSync(path, 'r')
    try {
      const hasher = createHash('sha256')
      const piece = new Uint8Array(PIECE)
      for (let done = 0; done < bytes;) {
        const got = readSync(fd, piece, 0, Math.min(PIECE, bytes - done), done)
        if (got === 0)
          return { problem: `${path} became shorter while it was read: ${done} of ${bytes} bytes are left` }
        hasher.update(piece.subarray(0, got))
        done += got
      }
      return { digest: hasher.digest('hex') }
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    return { problem: `${path} cannot be read: ${reasonOf(error)}` }
  }
}

const { path, bytes } = workerData as { readonly path: string; readonly bytes: number }
parentPort?.postMessage(hash(path, bytes))
