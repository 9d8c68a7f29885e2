/** A text file of the user's, whole. */
import { closeSync, openSync, readSync } from 'node:fs'
import { FileError } from '../cli/errors.ts'
import { reasonOf } from './reason.ts'

/** Larger files are refused: nobody typed them, and a device such as /dev/zero has no end. */
const MOST_BYTES = 64 << 20
const PIECE = 1 << 16

/** The text of `path` (UTF-8), which may also be a pipe. FileError, with the `name` that the user gave, where there is none. */
export function readText(name: string, path: string): string {
  const bytes = readBytes(name, path)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new FileError(`${name} is no UTF-8 text`)
  }
}

function readBytes(name: string, path: string): Uint8Array {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const pieces: Uint8Array[] = []
    for (let total = 0; total <= MOST_BYTES;) {
      const piece = new Uint8Array(PIECE)
      const got = readSync(fd, piece)
      if (got === 0) return Buffer.concat(pieces)
      pieces.push(piece.subarray(0, got))
      total += got
    }
  } catch (error) {
    throw new FileError(`${name} cannot be read: ${reasonOf(error)}`)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
  throw new FileError(`${name} has more than ${MOST_BYTES >> 20} MiB`)
}
