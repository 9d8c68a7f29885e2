/** Numbers for people. */

/** `1,234,567`. */
export const count = (value: number): string => value.toLocaleString('en-US', { maximumFractionDigits: 0 })

/** `44.0 KiB`. */
export function bytes(value: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let scaled = value
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024
    unit++
  }
  return unit === 0 ? `${count(value)} ${value === 1 ? 'byte' : 'bytes'}` : `${scaled.toFixed(1)} ${units[unit]}`
}

/** Nanoseconds as `12.3 ms`. */
export function duration(ns: number): string {
  if (ns < 1e3) return `${ns.toFixed(0)} ns`
  if (ns < 1e6) return `${(ns / 1e3).toFixed(1)} µs`
  if (ns < 1e9) return `${(ns / 1e6).toFixed(1)} ms`
  return `${(ns / 1e9).toFixed(2)} s`
}

/** Decimal megabytes per second, as disks are sold. */
export const rate = (value: number, ms: number): string => (ms <= 0 ? '–' : `${(value / 1e3 / ms).toFixed(1)} MB/s`)
