/** What a transfer should do, by an {@link ExpectedUnit}: where each of its pages goes, and by that what can be seen of it. */
import { hexBytes } from '@iospace/wire'
import type { BoardMemory } from '../../boards/index.ts'
import { piecesOf, type Dma } from '../dma.ts'
import { PAGE, READBACK } from '../memory-map.ts'
import { Endless, type ExpectedUnit } from './expected-unit.ts'
import { UNSEEN } from './side.ts'

export interface Forecast {
  /** Machine address of each page's piece of the transfer; −1 for a blocked one. */
  readonly pages: readonly number[]
  /** The same of the store by which a fetch is seen; none for a store. */
  readonly readback: readonly number[]
}

export interface Write {
  readonly address: number
  readonly bytes: Uint8Array
}

/** What is seen of a transfer: as `Side.transfer` tells it, and what memory holds then. */
export interface Outcome {
  readonly seen: string
  readonly writes: readonly Write[]
}

const readbackOf = (dma: Dma): Dma => ({ ...dma, write: true, hi: 0, lo: READBACK * PAGE })

/** Null where the unit would not come to an end. */
export function forecast(unit: ExpectedUnit, dma: Dma): Forecast | null {
  try {
    return { pages: pagesOf(unit, dma), readback: dma.write ? [] : pagesOf(unit, readbackOf(dma)) }
  } catch (error) {
    if (error instanceof Endless) return null
    throw error
  }
}

function pagesOf(unit: ExpectedUnit, { requester, write, hi, lo, length }: Dma): number[] {
  const first = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
  const pages: number[] = []
  let known = 0
  let at = -1
  for (let done = 0; done < length;) {
    const iova = BigInt.asUintN(64, first + BigInt(done))
    if (known === 0) {
      const { to, bytes } = unit.answer(requester, iova, write)
      known = bytes
      at = to === null ? -1 : Number(to)
    }
    pages.push(at)
    const piece = PAGE - Number(iova % BigInt(PAGE))
    if (at >= 0) at += piece
    known -= piece
    done += piece
  }
  return pages
}

export const sameForecast = (a: Forecast | null, b: Forecast | null): boolean =>
  a === null || b === null
    ? a === b
    : [...a.pages, ...a.readback].every((page, i) => page === [...b.pages, ...b.readback][i])

/** What is seen of `dma`, whose device stores `stored`, when memory is as it is now. */
export function outcomeOf({ pages, readback }: Forecast, dma: Dma, stored: Uint8Array, memory: BoardMemory): Outcome {
  const pieces = piecesOf({ ...dma, at: 0 })
  if (dma.write) return { seen: '', writes: writesOf(pages, pieces, stored, memory) }
  const found = new Uint8Array(dma.length)
  for (const [i, { at, length }] of pieces.entries())
    if (isRam(pages[i]!, length, memory)) found.set(memory.read(pages[i]!, length), at)
  const writes = writesOf(readback, piecesOf({ ...readbackOf(dma), at: 0 }), found, memory)
  const seen = new Uint8Array(dma.length).fill(parseInt(UNSEEN, 16))
  for (const { address, bytes } of writes) if (address === READBACK * PAGE) seen.set(bytes)
  return { seen: hexBytes(seen), writes }
}

function writesOf(pages: readonly number[], pieces: readonly Dma[], bytes: Uint8Array, memory: BoardMemory): Write[] {
  return pieces
    .map(({ at, length }, i) => ({ address: pages[i]!, bytes: bytes.slice(at, at + length) }))
    .filter(({ address, bytes: { length } }) => isRam(address, length, memory))
}

const isRam = (address: number, length: number, { bytes }: BoardMemory): boolean =>
  address >= 0 && address + length <= bytes
