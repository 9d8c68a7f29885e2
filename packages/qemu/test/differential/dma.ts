/** A transfer of a device: an operation of every lane. */
import { hex } from '@iospace/wire'
import { PAGE } from './memory-map.ts'

export interface Dma {
  readonly kind: 'dma'
  readonly requester: number
  readonly write: boolean
  /** I/O address, as halves. */
  readonly hi: number
  readonly lo: number
  readonly length: number
  /** Where in the device's buffer the bytes of a write are. */
  readonly at: number
}

/** A transfer page by page, as both boards' edu makes it. */
export function piecesOf<Transfer extends Dma>(operation: Transfer): Transfer[] {
  const pieces: Transfer[] = []
  for (let done = 0; done < operation.length;) {
    const sum = (operation.lo >>> 0) + done
    const length = Math.min(operation.length - done, PAGE - (sum & (PAGE - 1)))
    const hi = sum > 0xffff_ffff ? operation.hi + 1 : operation.hi
    pieces.push({ ...operation, hi, lo: sum | 0, length, at: operation.at + done })
    done += length
  }
  return pieces
}

/** An I/O address or an entry, of its halves. */
export const hex64 = (hi: number, lo: number): string => hex((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0))

export const hexWords = (words: readonly number[]): string => words.map((word) => hex(word >>> 0)).join(' ')

export const describeDma = ({ requester, write, hi, lo, length }: Dma): string =>
  `${hex(requester)} ${write ? 'stores' : 'fetches'} ${length} bytes at ${hex64(hi, lo)}`
