/** A domain's fault ring: where its faults are written, in frames of its own that are held with a writable type. */
export interface FaultRing {
  /** Frame index of the control page. */
  readonly control: number
  /** Frame indices of the record pages, a power of two of them. */
  readonly pages: readonly number[]
  /** Records written, as in the control page; the guest cannot change ours. */
  producer: number
  lost: number
}
