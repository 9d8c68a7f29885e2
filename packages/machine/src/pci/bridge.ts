/** PCI-to-PCI bridges: a PCI Express root port keeps requester ids, a bridge to conventional PCI replaces them with its own. */
import { Config } from './config-space.ts'
import { PciFunction } from './function.ts'

export type BridgeKind = 'root-port' | 'conventional'

export class PciBridge extends PciFunction {
  readonly kind: BridgeKind

  constructor(kind: BridgeKind) {
    super({
      vendorId: 0x1b36,
      deviceId: kind === 'root-port' ? 0x000c : 0x000e,
      classCode: 0x060400,
      ...(kind === 'root-port' ? { express: { functionReset: false } } : {}),
    })
    this.kind = kind
    this.config.define(Config.headerType, 1, 1)
    this.config.define(Config.primaryBus, 1, 0, 0xff)
    this.config.define(Config.secondaryBus, 1, 0, 0xff)
    this.config.define(Config.subordinateBus, 1, 0, 0xff)
  }

  get secondaryBus(): number {
    return this.config.read(Config.secondaryBus, 1)
  }

  protected override onReset(): void {}
}
