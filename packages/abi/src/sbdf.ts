import { Sbdf, ValueError } from '@iospace/wire'

/** The parts of a PCI function's address. */
export interface SbdfParts {
  /** 0 to 0xffff. */
  readonly segment: number
  /** 0 to 0xff. */
  readonly bus: number
  /** 0 to 0x1f. */
  readonly device: number
  /** 0 to 7. */
  readonly function: number
}

/** The 32-bit form: segment << 16 | bus << 8 | device << 3 | function. ValueError for a part out of range. */
export function packSbdf(parts: SbdfParts): Sbdf {
  part('segment', parts.segment, 0xffff)
  part('bus', parts.bus, 0xff)
  part('device', parts.device, 0x1f)
  part('function', parts.function, 7)
  return Sbdf(((parts.segment << 16) | (parts.bus << 8) | (parts.device << 3) | parts.function) >>> 0)
}

/** The parts of a 32-bit address. */
export function unpackSbdf(sbdf: number): SbdfParts {
  return { segment: sbdf >>> 16, bus: (sbdf >>> 8) & 0xff, device: (sbdf >>> 3) & 0x1f, function: sbdf & 7 }
}

/** The usual text, in hexadecimal: `0000:03:00.1`. */
export function formatSbdf(sbdf: number): string {
  const { segment, bus, device, function: fn } = unpackSbdf(sbdf)
  const hex = (n: number, digits: number): string => n.toString(16).padStart(digits, '0')
  return `${hex(segment, 4)}:${hex(bus, 2)}:${hex(device, 2)}.${fn}`
}

const TEXT = /^(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,2}):([01]?[0-9a-f])\.([0-7])$/i

/** The address that a text names, `0000:03:00.1` or, in segment 0, `03:00.1`; `undefined` when it is no such text. */
export function parseSbdf(text: string): Sbdf | undefined {
  const match = TEXT.exec(text)
  if (match === null) return undefined
  const [, segment = '0', bus, device, fn] = match as unknown as [string, string | undefined, string, string, string]
  const hex = (digits: string): number => Number.parseInt(digits, 16)
  return packSbdf({ segment: hex(segment), bus: hex(bus), device: hex(device), function: hex(fn) })
}

function part(name: keyof SbdfParts, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max)
    throw new ValueError('Sbdf', name, undefined, value, `is not an integer from 0 to 0x${max.toString(16)}`)
}
