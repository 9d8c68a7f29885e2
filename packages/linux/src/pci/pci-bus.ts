/** The PCI bus of a kernel: which functions there are, which driver has which (Linux drivers/pci/pci-driver.c). */
import { Errno, errnoName } from '@iospace/abi'
import type { Kernel } from '../kernel.ts'
import { PciDevice } from './pci-device.ts'
import type { PciDriver, PciId } from './pci-driver.ts'

export class PciBus {
  readonly #kernel: Kernel
  readonly #bound = new Map<number, { readonly device: PciDevice; readonly driver: PciDriver }>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  /** Functions that a driver has, by their numbers. */
  bound(): { readonly device: PciDevice; readonly driver: PciDriver }[] {
    return [...this.#bound.values()]
  }

  /** Binds `driver` to every function that it matches and nobody has; those that it took. Tasks only: probing may wait. */
  async register(driver: PciDriver): Promise<PciDevice[]> {
    const taken: PciDevice[] = []
    for (const sbdf of this.#kernel.platform.devices()) {
      if (this.#bound.has(sbdf)) continue
      const device = new PciDevice(this.#kernel, sbdf)
      if (!driver.ids.some((id) => matches(id, device))) continue
      this.#bound.set(sbdf, { device, driver })
      const result = (await driver.probe(device)) ?? 0
      if (result === 0) {
        taken.push(device)
        continue
      }
      this.#kernel.log(`${driver.name} ${device.name}: probe failed with error ${errnoName(result) ?? result}`)
      await this.#unbind(sbdf)
    }
    return taken
  }

  /** Takes a function from its driver. −ENODEV when none has it. */
  async unbind(device: PciDevice): Promise<number> {
    if (this.#bound.get(device.sbdf)?.device !== device) return -Errno.ENODEV
    await this.#unbind(device.sbdf)
    return 0
  }

  /** @internal Takes every function from its driver, the last bound first. */
  async shutdown(): Promise<void> {
    for (const sbdf of [...this.#bound.keys()].reverse()) await this.#unbind(sbdf)
  }

  async #unbind(sbdf: number): Promise<void> {
    const bound = this.#bound.get(sbdf)
    this.#bound.delete(sbdf)
    await bound?.device.letGo()
  }
}

function matches(id: PciId, device: PciDevice): boolean {
  return 'class' in id ? id.class === device.classCode : id.vendor === device.vendorId && id.device === device.deviceId
}
