/** What a transfer should do, by an {@link ExpectedUnit}: where each of its pages goes, and by that what can be seen of it. */
import { hexBytes } from '@iospace/wire'
import type { BoardMemory } from '../boards/index.ts'
import { piecesOf, type Dma } from './dma.ts'
import type { Answer, ExpectedUnit } from './expected-unit.ts'
import { PAGE, READBACK, UNSEEN } from './memory-map.ts'

export interface Forecast {
  /** Machine address of each page's piece of the transfer; −1 for a blocked one. */
  readonly pages: readonly number[]
  /** The same of the store by which a fetch is seen; none for a store. */
  readonly readback: readonly number[]
  /** What the unit tells of faults. */
  readonly told: string
}

export interface Write {
  readonly address: number
  readonly bytes: Uint8Array
}

/** What is seen of a transfer: as `Side.transfer` tells it, and what memory holds then. */
export interface Outcome {
  readonly seen: string
  readonly told: string
  readonly writes: readonly Write[]
}

/** The store by which a fetch is seen. */
const readbackOf = <Transfer extends Dma>(dma: Transfer): Transfer => ({
  ...dma,
  write: true,
  hi: 0,
  lo: READBACK * PAGE,
  at: 0,
})

/** Null where it cannot be foretold. */
export function forecast<Operation, Transfer extends Dma>(
  unit: ExpectedUnit<Operation, Transfer>,
  dma: Transfer,
): Forecast | null {
  const pages = pagesOf(unit, dma)
  if (pages === null) return null
  const told = unit.faults(dma)
  if (dma.write) return { pages, readback: [], told }
  const readback = pagesOf(unit, readbackOf(dma))
  return readback === null ? null : { pages, readback, told: `${told}, then ${unit.faults(dma)}` }
}

function pagesOf<Operation, Transfer extends Dma>(
  unit: ExpectedUnit<Operation, Transfer>,
  { requester, write, hi, lo, length }: Transfer,
): number[] | null {
  const first = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
  const pages: number[] = []
  let known = 0
  let at = -1
  for (let done = 0; done < length;) {
    const iova = BigInt.asUintN(64, first + BigInt(done))
    if (known === 0) {
      const answer: Answer | null = unit.answer(requester, iova, write)
      if (answer === null) return null
      known = answer.bytes
      at = answer.to === null ? -1 : Number(answer.to)
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
    : a.told === b.told && [...a.pages, ...a.readback].every((page, i) => page === [...b.pages, ...b.readback][i])

/** What is seen of `dma`, whose device stores `stored`, when memory is as it is now. */
export function outcomeOf(
  { pages, readback, told }: Forecast,
  dma: Dma,
  stored: Uint8Array,
  memory: BoardMemory,
): Outcome {
  const pieces = piecesOf({ ...dma, at: 0 })
  if (dma.write) return { seen: '', told, writes: writesOf(pages, pieces, stored, memory) }
  const found = new Uint8Array(dma.length)
  for (const [i, { at, length }] of pieces.entries())
    if (isRam(pages[i]!, length, memory)) found.set(memory.read(pages[i]!, length), at)
  const writes = writesOf(readback, piecesOf(readbackOf(dma)), found, memory)
  const seen = new Uint8Array(dma.length).fill(UNSEEN)
  for (const { address, bytes } of writes) if (address === READBACK * PAGE) seen.set(bytes)
  return { seen: hexBytes(seen), told, writes }
}

function writesOf(pages: readonly number[], pieces: readonly Dma[], bytes: Uint8Array, memory: BoardMemory): Write[] {
  return pieces
    .map(({ at, length }, i) => ({ address: pages[i]!, bytes: bytes.slice(at, at + length) }))
    .filter(({ address, bytes: { length } }) => isRam(address, length, memory))
}

const isRam = (address: number, length: number, { bytes }: BoardMemory): boolean =>
  address >= 0 && address + length <= bytes

export const sameOutcome = (a: Outcome, b: Outcome): boolean =>
  a.seen === b.seen &&
  a.told === b.told &&
  a.writes.length === b.writes.length &&
  a.writes.every(({ address, bytes }, i) => {
    const other = b.writes[i]!
    return address === other.address && Buffer.compare(bytes, other.bytes) === 0
  })

export function describeForecast(forecast: Forecast | null): string {
  if (forecast === null) return 'cannot be foretold'
  const { pages, readback, told } = forecast
  const list = (addresses: readonly number[]) =>
    addresses.map((page) => (page < 0 ? 'blocked' : `0x${page.toString(16)}`)).join(', ')
  return [list(pages), ...(readback.length > 0 ? [`read back by ${list(readback)}`] : []), told]
    .filter((text) => text !== '')
    .join('; ')
}
