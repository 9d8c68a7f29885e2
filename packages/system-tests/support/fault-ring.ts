/** The attacker's fault ring, read straight from its pages. */
import {
  FAULT_FLAGS,
  FAULT_RECORDS_PER_PAGE,
  iommu_fault_control,
  iommu_fault_record,
  IOMMU_OP,
  iommu_set_fault_ring,
} from '@iospace/abi'
import type { Kernel, KernelBuffer } from '@iospace/linux'
import { iommuOp } from './calls.ts'
import { page } from './raw-frontend.ts'

export interface Fault {
  readonly device: number
  readonly ioAddress: bigint
  readonly write: boolean
  readonly reason: number
  readonly flags: number
}

export class FaultRing {
  readonly control: KernelBuffer
  readonly #records: KernelBuffer
  #consumer = 0

  private constructor(control: KernelBuffer, records: KernelBuffer) {
    this.control = control
    this.#records = records
  }

  /** Null where nothing reports faults. */
  static open(kernel: Kernel): FaultRing | null {
    const [control, records, list] = [page(kernel), page(kernel), page(kernel)]
    const frame = (buffer: KernelBuffer): number => kernel.memory.platform.machineFrame(buffer.pfn)
    list.write32(0, frame(records))
    const gfns = { array: BigInt(list.address()), count: 1, stride: 8 }
    const { result } = iommuOp(kernel, IOMMU_OP.set_fault_ring, iommu_set_fault_ring, {
      control_gfn: BigInt(frame(control)),
      gfns,
    })
    return result === 0 ? new FaultRing(control, records) : null
  }

  /** Records that found the ring full. */
  get lost(): number {
    return this.control.read32(iommu_fault_control.offsets.lost)
  }

  /** Records written so far. */
  get producer(): number {
    return this.control.read32(iommu_fault_control.offsets.producer)
  }

  /** Faults since the last call. */
  take(): Fault[] {
    const faults: Fault[] = []
    for (; this.#consumer !== this.producer; this.#consumer++) {
      const at = (this.#consumer % FAULT_RECORDS_PER_PAGE) * iommu_fault_record.size
      const { device, io_address, flags, reason } = this.#records.readStruct(iommu_fault_record, at)
      faults.push({ device, ioAddress: io_address, write: (flags & FAULT_FLAGS.WRITE) !== 0, reason, flags })
    }
    this.control.write32(iommu_fault_control.offsets.consumer, this.#consumer)
    return faults
  }
}
