/** How long a controller takes, in virtual ns. A model: orders of magnitude, not a product's data sheet. */
export interface NvmeLatency {
  readonly name: string
  readonly source: string
  /** From a doorbell write to the fetch of the first command. */
  readonly fetch: number
  /** From fetch to completion of a command that moves no data. */
  readonly command: number
  /** A random part of up to this much comes on top, so that commands overtake each other. */
  readonly jitter: number
  /** Per byte of data; one transfer at a time. */
  readonly perByte: number
  readonly flush: number
  /** From CC.EN to CSTS.RDY, either way, and from CC.SHN to completed shutdown. */
  readonly transition: number
}

export const earlyFlash: NvmeLatency = {
  name: 'earlyFlash',
  source: 'orders of magnitude of the first PCIe flash drives (2 GB/s, tens of µs); a model, not a measurement',
  fetch: 300,
  command: 20_000,
  jitter: 8_000,
  perByte: 0.5,
  flush: 50_000,
  transition: 100_000,
}
