/** A device that writes a page of its own to the bus address that its one register gets, and interrupts. */
import { type Machine, PciFunction } from '@iospace/machine'

export class StampDevice extends PciFunction {
  readonly #machine: Machine
  readonly #at: number

  constructor(machine: Machine) {
    const write = (value: number): void => this.#write(value)
    super({
      vendorId: 0xf0f0,
      deviceId: 0x57a3,
      classCode: 0xff0000,
      bars: [
        {
          index: 0,
          bytes: 4096,
          wide: true,
          registers: { read32: () => 0x57a3, write32: (_offset, value) => write(value) },
        },
      ],
      msi: true,
    })
    this.#machine = machine
    this.#at = machine.memory.boardMemory(4096)
    machine.memory.fill(this.#at, 0x5a, 4096)
  }

  protected override onReset(): void {}

  #write(address: number): void {
    this.#machine.clock.after(1000, () => {
      this.dmaWrite(0, address, this.#at, 4096)
      this.interrupt()
    })
  }
}
