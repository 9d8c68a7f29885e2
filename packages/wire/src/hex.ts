/**
 * Hexadecimal text for an integer: `0x1f`, `-0x16`. With `digits`, padded on the left with zeros.
 * Anything that is not an integer is shown as JavaScript shows it, so that an error message can always be built.
 */
export function hex(value: unknown, digits = 0): string {
  if (typeof value === 'bigint')
    return sign(value < 0n) + (value < 0n ? -value : value).toString(16).padStart(digits, '0')
  if (typeof value === 'number' && Number.isInteger(value))
    return sign(value < 0) + Math.abs(value).toString(16).padStart(digits, '0')
  return typeof value === 'string' ? JSON.stringify(value) : String(value)
}

/** Bytes as two hexadecimal digits each, joined by `separator` (nothing by default). */
export function hexBytes(bytes: Uint8Array, separator = ''): string {
  const digits: string[] = []
  for (let i = 0; i < bytes.length; i++) digits.push(bytes[i]!.toString(16).padStart(2, '0'))
  return digits.join(separator)
}

/**
 * The bytes that a text of hexadecimal digits stands for; white space is ignored.
 * Returns `undefined` when the text has anything else in it or an odd number of digits.
 */
export function parseHex(text: string): Uint8Array | undefined {
  const digits = text.replace(/\s+/g, '')
  if (digits.length % 2 !== 0 || /[^0-9a-fA-F]/.test(digits)) return undefined
  const bytes = new Uint8Array(digits.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

function sign(negative: boolean): string {
  return negative ? '-0x' : '0x'
}
