/**
 * I/O addresses that never reach a table. Source: what Linux's pci-calgary_64.c keeps out of its allocator; facts C.1.
 *
 * Below 1 MiB: 640 KiB to 1 MiB on Calgary, all of it on CalIOC2. And the two peripheral memory windows of each bridge, in whole MiB.
 */
export const LEGACY_END = 0x10_0000
export const CALGARY_LEGACY = 0xa_0000
export const CALIOC2_LEGACY = 0

/** The windows of a bridge by their first and last MiB (bits 63:20 of an address); none where first > last. */
export interface PeripheralWindows {
  memory1First: number
  memory1Last: number
  memory2First: number
  memory2Last: number
}

/** A bridge without windows, as after power-on. */
export const NO_WINDOWS: Readonly<PeripheralWindows> = Object.freeze({
  memory1First: 1,
  memory1Last: 0,
  memory2First: 1,
  memory2Last: 0,
})

/** Number of the MiB that holds address (`hi`:`lo`). */
export const mebibyteOf = (hi: number, lo: number): number => (hi >>> 0) * 0x1000 + (lo >>> 20)

const isInside = (windows: Readonly<PeripheralWindows>, mebibyte: number): boolean =>
  (mebibyte >= windows.memory1First && mebibyte <= windows.memory1Last) ||
  (mebibyte >= windows.memory2First && mebibyte <= windows.memory2Last)

/** Whether a bridge with `windows` lets (`hi`:`lo`) pass untranslated; `legacyFirst`: where that begins below 1 MiB. */
export function isUntranslated(
  legacyFirst: number,
  windows: Readonly<PeripheralWindows>,
  hi: number,
  lo: number,
): boolean {
  // Addresses below 4 GiB, as nearly all are, without arithmetic in doubles.
  if (hi === 0) return (lo >>> 20 === 0 && lo >= legacyFirst) || isInside(windows, lo >>> 20)
  return isInside(windows, mebibyteOf(hi, lo))
}
