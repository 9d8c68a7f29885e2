/** Which machine frames of registers a domain may reach: a short list of ranges. The last hit is remembered, for doorbells. */
import { PAGE_SHIFT } from '@iospace/machine'

interface Range {
  readonly first: number
  readonly last: number
}

export class MmioPermissions {
  #ranges: Range[] = []
  #hit: Range = { first: 0, last: -1 }

  /** True when frame `mfn` may be reached. */
  allows(mfn: number): boolean {
    const hit = this.#hit
    if (mfn >= hit.first && mfn <= hit.last) return true
    const found = this.#ranges.find((range) => mfn >= range.first && mfn <= range.last)
    if (found === undefined) return false
    this.#hit = found
    return true
  }

  /** True when the register at byte `address` may be reached. */
  allowsAddress(address: number): boolean {
    return this.allows(Math.floor(address / 2 ** PAGE_SHIFT))
  }

  grant(first: number, frames: number): void {
    this.revoke(first, frames)
    this.#ranges.push({ first, last: first + frames - 1 })
  }

  revoke(first: number, frames: number): void {
    const last = first + frames - 1
    const left: Range[] = []
    for (const range of this.#ranges) {
      if (range.first < first) left.push({ first: range.first, last: Math.min(range.last, first - 1) })
      if (range.last > last) left.push({ first: Math.max(range.first, last + 1), last: range.last })
    }
    this.#ranges = left
    this.#hit = { first: 0, last: -1 }
  }

  clear(): void {
    this.#ranges = []
    this.#hit = { first: 0, last: -1 }
  }
}
