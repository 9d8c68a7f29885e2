/** A PC that QEMU emulates: RAM, an IOMMU, PCI devices, and a processor that halts at once. */
import { ConfigError, StateError } from '@iospace/wire'
import { countingFirmware, haltFirmware } from './firmware.ts'
import { QemuMemory, QemuMmio, QemuPci } from './ports.ts'
import { Qtest } from './qtest.ts'

/** Where QEMU's intel-iommu has its registers. */
export const QEMU_VTD_BASE = 0xfed9_0000
/** Where QEMU's amd-iommu has its registers. */
export const QEMU_AMDVI_BASE = 0xfed8_0000
/** All of RAM lies below the PCI hole of the chipset, so that addresses need no second range. */
const MAX_MEBIBYTES = 2048

export interface QemuMachineOptions {
  /** Program, as found by `findQemu`. */
  readonly qemu: string
  /** RAM in MiB; 64 by default. */
  readonly mebibytes?: number
  /** Values of `-device`, in order: an IOMMU first. See `vtd`, `amdvi`, `edu`, `rootPort`. */
  readonly devices?: readonly string[]
  /** Physical address of 4 KiB of RAM where the processor counts interrupts; by default it takes none. See {@link QemuMachine.interrupts}. */
  readonly interruptCounters?: number
}

export interface VtdOptions {
  readonly addressBits?: 39 | 48
  readonly cachingMode?: boolean
  /** With interrupt remapping, in xAPIC mode. */
  readonly interrupts?: boolean
}

const onOff = (on: boolean): string => (on ? 'on' : 'off')

/** QEMU's VT-d unit, by default with 39-bit tables and without interrupt remapping. */
export function vtd({ addressBits = 39, cachingMode = false, interrupts = false }: VtdOptions = {}): string {
  const remapping = interrupts ? 'intremap=on,eim=off' : 'intremap=off'
  return `intel-iommu,${remapping},aw-bits=${addressBits},caching-mode=${onOff(cachingMode)}`
}

/**
 * QEMU's AMD-Vi unit, by default without interrupt remapping. From QEMU 9.2 on it lets everything pass unless told otherwise; older
 * ones do not mind.
 */
export const amdvi = ({ interrupts = false }: Pick<VtdOptions, 'interrupts'> = {}): string =>
  `amd-iommu,pt=off,intremap=${onOff(interrupts)}`

/** A PCI Express root port at `slot` of bus 0; devices go on the bus that has its name. */
export const rootPort = (slot: number, name: string): string =>
  `pcie-root-port,id=${name},addr=${slot.toString(16)},chassis=${slot}`

/** An edu device at `slot` of `bus`, which reaches all 64-bit addresses (QEMU's default is 28 bits). */
export const edu = (slot: number, bus = 'pcie.0'): string =>
  `edu,bus=${bus},addr=${slot.toString(16)},dma_mask=0xffffffffffffffff`

export class QemuMachine implements Disposable {
  /** The channel, for what the ports below do not have. */
  readonly qtest: Qtest
  readonly memory: QemuMemory
  readonly mmio: QemuMmio
  readonly pci: QemuPci
  readonly #interruptCounters: number | undefined

  /** Starts QEMU. QemuError when it does not start. */
  constructor({ qemu, mebibytes = 64, devices = [], interruptCounters }: QemuMachineOptions) {
    if (!(Number.isInteger(mebibytes) && mebibytes >= 1 && mebibytes <= MAX_MEBIBYTES))
      throw new ConfigError('mebibytes', mebibytes, `is not between 1 and ${MAX_MEBIBYTES}`)
    const args = ['-machine', 'q35,pit=off', '-nodefaults', '-no-reboot', '-display', 'none', '-m', `${mebibytes}M`]
    // Debian's QEMU has no accel=qtest. With sleep=off a halted processor lets virtual time jump to a device's next timer.
    args.push('-accel', 'tcg', '-icount', 'shift=0,sleep=off')
    for (const device of devices) args.push('-device', device)
    const firmware = interruptCounters === undefined ? haltFirmware() : countingFirmware(interruptCounters)
    this.qtest = new Qtest({ qemu, args, firmware })
    this.#interruptCounters = interruptCounters
    this.memory = new QemuMemory(this.qtest, mebibytes << 20)
    this.mmio = new QemuMmio(this.qtest)
    this.pci = new QemuPci(this.qtest)
  }

  /**
   * How many interrupts of `vector` the processor has taken. One that was sent is taken a little later. StateError where it takes none.
   */
  interrupts(vector: number): number {
    if (this.#interruptCounters === undefined) throw new StateError('QEMU machine', 'does not count interrupts')
    return this.memory.readU32(this.#interruptCounters + 4 * vector)
  }

  /** Ends QEMU. */
  [Symbol.dispose](): void {
    this.qtest[Symbol.dispose]()
  }
}
