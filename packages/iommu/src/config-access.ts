/** Configuration space by bus, device and function number, as the board has it: 1, 2 or 4 aligned bytes. */
export interface ConfigAccess {
  configRead(bdf: number, offset: number, size: number): number
  configWrite(bdf: number, offset: number, size: number, value: number): void
}
