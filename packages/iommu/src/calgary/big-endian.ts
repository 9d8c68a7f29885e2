/** The other byte order of a 32-bit word: what a little-endian CPU reads as `word` is this to the chip, and back. A 32-bit pattern, signed. */
export function swap32(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)
}
