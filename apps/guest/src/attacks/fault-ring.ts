/** The faults of this domain's devices, as the hypervisor reports them: a control page, a page of records, and a virtual interrupt. */
import {
  DOMID,
  FAULT_FLAGS,
  FAULT_RECORDS_PER_PAGE,
  iommu_fault_control,
  iommu_fault_record,
  IOMMU_OP,
  iommu_set_fault_ring,
  VIRQ,
} from '@iospace/abi'
import type { Kernel, KernelBuffer } from '@iospace/linux'

export interface Fault {
  readonly device: number
  readonly ioAddress: number
  readonly write: boolean
}

export class FaultRing {
  readonly #kernel: Kernel
  readonly #control: KernelBuffer
  readonly #records: KernelBuffer
  readonly #port: number
  #consumer = 0
  /** What has arrived, oldest first. */
  readonly faults: Fault[] = []

  private constructor(kernel: Kernel, control: KernelBuffer, records: KernelBuffer, port: number) {
    this.#kernel = kernel
    this.#control = control
    this.#records = records
    this.#port = port
    kernel.events.handle(port, () => this.#take())
  }

  /** Asks for this domain's faults; null where nothing reports any (no IOMMU). */
  static open(kernel: Kernel): FaultRing | null {
    const { memory, events } = kernel
    const control = memory.allocate(4096)
    const records = memory.allocate(4096)
    const list = memory.allocate(8)
    if (control === null || records === null || list === null) return null
    list.write32(0, memory.platform.machineFrame(records.pfn))
    const set = FaultRing.#set(kernel, memory.platform.machineFrame(control.pfn), list.address(), 1)
    memory.free(list)
    const port = set < 0 ? set : events.bindVirq(VIRQ.IOMMU_FAULT)
    if (port >= 0) return new FaultRing(kernel, control, records, port)
    memory.free(control)
    memory.free(records)
    return null
  }

  /** Gives the pages back. */
  close(): void {
    this.#kernel.events.close(this.#port)
    FaultRing.#set(this.#kernel, 0, 0, 0)
    this.#kernel.memory.free(this.#control)
    this.#kernel.memory.free(this.#records)
  }

  static #set(kernel: Kernel, control: number, array: number, count: number): number {
    return kernel.hypercalls.call('iommu_op', IOMMU_OP.set_fault_ring, iommu_set_fault_ring, {
      size: iommu_set_fault_ring.size,
      flags: 0,
      domid: DOMID.SELF,
      control_gfn: BigInt(control),
      gfns: { array: BigInt(array), count, stride: 8 },
    })
  }

  #take(): void {
    const producer = this.#control.read32(iommu_fault_control.offsets.producer)
    for (; this.#consumer !== producer; this.#consumer = (this.#consumer + 1) >>> 0) {
      const at = (this.#consumer % FAULT_RECORDS_PER_PAGE) * iommu_fault_record.size
      const { device, io_address, flags } = this.#records.readStruct(iommu_fault_record, at)
      this.faults.push({ device, ioAddress: Number(io_address), write: (flags & FAULT_FLAGS.WRITE) !== 0 })
    }
    this.#control.write32(iommu_fault_control.offsets.consumer, this.#consumer)
  }
}
