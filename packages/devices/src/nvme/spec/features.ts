/** Feature identifiers (NVMe 1.4 section 5.21.1) of this controller, with their values at power-on and the bits that can be set. */
export const Feature = {
  arbitration: 0x01,
  powerManagement: 0x02,
  temperatureThreshold: 0x04,
  errorRecovery: 0x05,
  volatileWriteCache: 0x06,
  numberOfQueues: 0x07,
  interruptCoalescing: 0x08,
  interruptVector: 0x09,
  writeAtomicity: 0x0a,
  asynchronousEvents: 0x0b,
} as const

export interface FeatureSpec {
  readonly initial: number
  readonly settable: number
}

/** By identifier. Settable bits that steer what is not modelled here (bursts, coalescing, power, heat) are kept and have no effect. */
export const features: Readonly<Record<number, FeatureSpec>> = {
  [Feature.arbitration]: { initial: 7, settable: 7 },
  [Feature.powerManagement]: { initial: 0, settable: 0 },
  [Feature.temperatureThreshold]: { initial: 343, settable: 0xffff },
  [Feature.errorRecovery]: { initial: 0, settable: 0xffff },
  [Feature.volatileWriteCache]: { initial: 1, settable: 1 },
  [Feature.interruptCoalescing]: { initial: 0, settable: 0xffff },
  [Feature.interruptVector]: { initial: 0, settable: 0x1_0000 },
  [Feature.writeAtomicity]: { initial: 0, settable: 1 },
  [Feature.asynchronousEvents]: { initial: 0, settable: 0x1f },
}
