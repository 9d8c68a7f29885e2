/** Arithmetic on I/O addresses and addresses in entries, as (high, low) 32-bit halves. */
import { INTERRUPT_WINDOW } from '@iospace/machine'
import { levelShift, PageEntry, widthOf } from './spec/entries.ts'

/** HyperTransport's interrupt range 0xFD_F8xx_xxxx: no device writes there by itself. */
const TUNNEL_HIGH = 0xfd
const TUNNEL_LOW = 0xf8

/** Whether requests at (`hi`:`lo`) are interrupts, which are never translated. */
export function inInterruptRange(hi: number, lo: number): boolean {
  return (hi === 0 && lo >>> 20 === INTERRUPT_WINDOW) || (hi === TUNNEL_HIGH && lo >>> 24 === TUNNEL_LOW)
}

/** log2 of the bytes of a leaf with NextLevel 7: the first zero bit from 12 up is its highest offset bit. 53 when there is none. */
export function sizeShift(upper: number, low: number): number {
  const zeros = ~(low >> 12)
  if ((zeros & 0xf_ffff) !== 0) return 13 + (31 - Math.clz32(zeros & -zeros))
  const more = ~upper & PageEntry.addressHigh
  return more === 0 ? 53 : 33 + (31 - Math.clz32(more & -more))
}

/** Whether any address bit of the levels between `level` and `next` is set. */
export function skipsBits(level: number, next: number, hi: number, lo: number): boolean {
  for (let skipped = level - 1; skipped > next; skipped--) {
    const shift = levelShift(skipped)
    if (((shift >= 32 ? hi >>> (shift - 32) : (lo >>> shift) | (shift > 23 ? hi << (32 - shift) : 0)) & 511) !== 0)
      return true
  }
  return false
}

/** Whether (`hi`:`lo`) is an address of a table of `levels` levels. */
export function inWidth(levels: number, hi: number, lo: number): boolean {
  return ((hi & beyondHigh(levels)) | (lo & beyondLow(levels))) === 0
}

/** Bits of the two halves of an address that lie above a table of `levels` levels. */
export function beyondHigh(levels: number): number {
  const width = widthOf(levels)
  return width >= 64 ? 0 : width <= 32 ? -1 : -1 << (width - 32)
}

export function beyondLow(levels: number): number {
  const width = widthOf(levels)
  return width >= 32 ? 0 : -1 << width
}

/** The frame at bits 51:12 of (`high`:`low`), an exact number also where it does not fit 31 bits: such a frame must never alias another. */
export function frameOf(high: number, low: number): number {
  return (high >>> 0) * 0x10_0000 + (low >>> 12)
}
