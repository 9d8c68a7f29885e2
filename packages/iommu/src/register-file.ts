/**
 * A block of 32-bit registers as data: reset value, which bits software may write, which it clears by writing one, which read as 0.
 * Side effects are the owner's: it looks at an offset after the write.
 */
export class RegisterFile {
  declare private readonly values: Int32Array
  readonly #reset: Int32Array
  declare private readonly writable: Int32Array
  declare private readonly clearable: Int32Array
  declare private readonly hidden: Int32Array

  /** `bytes` registers that all read 0 and ignore writes until defined. */
  constructor(bytes: number) {
    const words = bytes >>> 2
    this.values = new Int32Array(words)
    this.#reset = new Int32Array(words)
    this.writable = new Int32Array(words)
    this.clearable = new Int32Array(words)
    this.hidden = new Int32Array(words)
  }

  /** Declares the register at `offset`. `hidden` bits are write-only: software reads them as 0. */
  define(offset: number, value: number, writable = 0, clearable = 0, hidden = 0): void {
    const at = offset >>> 2
    this.values[at] = this.#reset[at] = value
    this.writable[at] = writable
    this.clearable[at] = clearable
    this.hidden[at] = hidden
  }

  /** What software reads. */
  read(offset: number): number {
    const at = offset >>> 2
    return at < this.values.length ? this.values[at]! & ~this.hidden[at]! : -1
  }

  /** What software writes, filtered by the masks. */
  write(offset: number, value: number): void {
    const at = offset >>> 2
    if (at >= this.values.length) return
    const writable = this.writable[at]!
    this.values[at] = ((this.values[at]! & ~writable) | (value & writable)) & ~(value & this.clearable[at]!)
  }

  /** The register as hardware sees it. */
  get(offset: number): number {
    return this.values[offset >>> 2]!
  }

  /** A change by hardware. */
  set(offset: number, value: number): void {
    this.values[offset >>> 2] = value
  }

  /** Back to the values of power-on. */
  reset(): void {
    this.values.set(this.#reset)
  }
}
