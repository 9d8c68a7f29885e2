/**
 * What moves a struct between an object and bytes. `at` is a byte offset in the view. Nothing is range-checked but the
 * place: BoundsError before the first byte is touched when the struct would leave the view.
 */
export interface StructCodecs {
  read(view: DataView, at: number): object
  readInto(view: DataView, at: number, target: object): object
  write(view: DataView, at: number, value: object): void
  firstNonZeroPad(view: DataView, at: number): string | undefined
}
