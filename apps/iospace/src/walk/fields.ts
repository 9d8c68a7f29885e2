/** The bits of an entry by name. Each format is a list of fields; the bits that no field names are ignored by hardware. */

export interface Field {
  /** As the specification has it. */
  readonly name: string
  /** Its bits, `low` up to `high`. */
  readonly low: number
  readonly high: number
  /**
   * `always` is shown whatever it is, `set` when it is not 0; `address` is an address whose low bits are left out, shown; `reserved` must
   * be 0: shown when it is not, by its bits.
   */
  readonly kind: 'always' | 'set' | 'address' | 'reserved'
  /** What a value means, for people. */
  readonly means?: (value: number) => string
}

export interface FieldValue {
  readonly name: string
  /** Of an address: with its low zeros. */
  readonly value: bigint
  /** A small number; an address or reserved bits otherwise. */
  readonly isNumber: boolean
  /** Reserved bits that are set, by their places in the entry; null for all other fields. */
  readonly reserved: readonly number[] | null
  /** What it means, for people; null when the number says it all. */
  readonly means: string | null
}

/** One bit that is shown whatever it is. */
export const bit = (name: string, at: number): Field => ({ name, low: at, high: at, kind: 'always' })

/** One or more bits that are shown when they are not 0. */
export const rare = (name: string, low: number, high = low): Field => ({ name, low, high, kind: 'set' })

export const number = (name: string, low: number, high: number, means?: (value: number) => string): Field => ({
  name,
  low,
  high,
  kind: 'always',
  ...(means === undefined ? {} : { means }),
})

export const address = (name: string, low: number, high: number): Field => ({ name, low, high, kind: 'address' })

/** Bits that must be 0; none at all where `low` > `high`. */
export const reserved = (low: number, high = low): Field => ({ name: 'reserved', low, high, kind: 'reserved' })

/** What of `entry` is worth showing. */
export function fieldsOf(fields: readonly Field[], entry: bigint): FieldValue[] {
  return fields.flatMap(({ name, low, high, kind, means }) => {
    if (low > high) return []
    const raw = (entry >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n)
    if (raw === 0n && (kind === 'set' || kind === 'reserved')) return []
    const isReserved = kind === 'reserved'
    return {
      name: isReserved ? `reserved ${low === high ? low : `${high}:${low}`}` : name,
      value: kind === 'address' ? raw << BigInt(low) : raw,
      isNumber: kind !== 'address' && !isReserved,
      reserved: isReserved ? placesOf(raw, low) : null,
      means: means?.(Number(raw)) ?? null,
    }
  })
}

/** The places of the bits that are set in `raw`, whose lowest is at `low`; highest first. */
function placesOf(raw: bigint, low: number): number[] {
  const places: number[] = []
  for (let i = 0; raw >> BigInt(i) !== 0n; i++) if (((raw >> BigInt(i)) & 1n) !== 0n) places.unshift(low + i)
  return places
}
