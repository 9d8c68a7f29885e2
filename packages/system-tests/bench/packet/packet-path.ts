/**
 * A machine with VT-d, a hypervisor, a kernel and a network interface, and the driver's receive path over them: map a batch of buffers by
 * the DMA API, let the device fill them, unmap them. Everything is the real thing, its device confined by the kernel itself
 * (`iommu=xen`: default space empty, one hypercall per batch on either side); dma-debug is off.
 */
import { Hypervisor } from '@iospace/hypervisor'
import { iommuModels } from '@iospace/iommu/hardware'
import { domainPlatform } from '@iospace/lab'
import {
  bootKernel,
  type CoherentBuffer,
  Direction,
  type DmaApi,
  type Kernel,
  type KernelBuffer,
  ScatterList,
} from '@iospace/linux'
import { Command, Config, Machine } from '@iospace/machine'
import { DESCRIPTOR_BYTES, PACKET_BOARD_BYTES, PACKET_BYTES, PacketDevice, wireByte } from './packet-device.ts'

/** Buffers of the ring, one page each; a batch is a part of it. */
export const BUFFERS = 256
const DOM0 = 0
const DOM0_PAGES = 4096

export class PacketPath {
  readonly machine: Machine
  readonly hypervisor: Hypervisor
  readonly device: PacketDevice
  readonly #kernel: Kernel
  readonly #dma: DmaApi
  readonly #ring: CoherentBuffer
  readonly #buffers: KernelBuffer
  readonly #list = new ScatterList(BUFFERS)
  readonly #refs = new Int32Array(BUFFERS)
  readonly #words: Int32Array
  /** First word of the ring, and its bus address in halves. */
  readonly #ringWord: number
  readonly #ringHigh: number
  readonly #ringLow: number
  #next = 0

  constructor() {
    const memory = { lowFrames: 8192, highFrames: 8192, boardBytes: PACKET_BOARD_BYTES + 2 * 4096 }
    const machine = new Machine({ memory, seed: 1, turn: () => Promise.resolve(), hangLimit: Infinity })
    const bus = machine.pci.addBridge(0, 8, 'root-port')
    this.machine = machine
    this.device = machine.pci.add(bus, 0, new PacketDevice(machine)) as PacketDevice
    const model = iommuModels['vtd']!
    model.install(machine)
    let kernel: Kernel | null = null
    this.hypervisor = new Hypervisor({
      machine,
      iommu: (pages) => model.driver(machine, pages),
      boot: (view) => (kernel = bootKernel(domainPlatform(view, view.name))),
    })
    this.hypervisor.createDom0({ pages: DOM0_PAGES, commandLine: 'iommu=xen' })
    this.#kernel = kernel!
    const sbdf = bus << 8
    this.#kernel.platform.configWrite(sbdf, Config.command, 2, Command.memory | Command.busMaster)
    this.#dma = this.#kernel.dma.open(sbdf)
    this.#dma.setMask(64)
    this.#ring = this.#dma.allocateCoherent(BUFFERS * DESCRIPTOR_BYTES)!
    this.#buffers = this.#kernel.memory.allocate(BUFFERS * 4096)!
    this.#words = machine.memory.words
    this.#ringWord = this.#ring.buffer.at(0) >> 2
    this.#ringHigh = Math.floor(this.#ring.address / 2 ** 32)
    this.#ringLow = this.#ring.address | 0
    for (let i = 0; i < BUFFERS; i++) {
      this.#refs[i] = this.#kernel.grants.grantAccess(DOM0, this.#buffers.pfn + i, false)
    }
  }

  /** Receives `packets` packets, `batch` at a time, each into a buffer mapped for it alone. Throws when the device could not write one. */
  receive(packets: number, batch: number): void {
    const list = this.#list
    const dma = this.#dma
    const { pfn } = this.#buffers
    for (let done = 0; done < packets; done += batch) {
      list.reset()
      for (let i = 0; i < batch; i++) list.add(pfn + ((this.#next + i) & (BUFFERS - 1)), 0, PACKET_BYTES)
      if (dma.mapEach(list, Direction.fromDevice) < 0) throw new Error('the batch could not be mapped')
      this.#fill(batch)
      dma.unmapEach(list, Direction.fromDevice)
      this.#next = (this.#next + batch) & (BUFFERS - 1)
    }
  }

  /** The same with pages that the domain granted (here to itself), by map_grant and unmap_grant. */
  receiveGranted(packets: number, batch: number): void {
    const list = this.#list
    const dma = this.#dma
    for (let done = 0; done < packets; done += batch) {
      list.reset(DOM0)
      for (let i = 0; i < batch; i++) list.add(this.#refs[(this.#next + i) & (BUFFERS - 1)]!, 0, PACKET_BYTES)
      if (dma.mapSg(list, Direction.fromDevice) < 0) throw new Error('the batch could not be mapped')
      this.#fill(batch)
      dma.unmapSg(list, Direction.fromDevice)
      this.#next = (this.#next + batch) & (BUFFERS - 1)
    }
  }

  /** Throws unless every byte of the packets arrives, the device reaches nothing after the unmap, and nothing is left mapped. */
  check(): void {
    const before = this.hypervisor.snapshot()
    for (const receive of [() => this.receive(BUFFERS, 16), () => this.receiveGranted(BUFFERS, 16)]) {
      this.#buffers.fill(0)
      receive()
      for (let i = 0; i < BUFFERS; i++) this.#checkPacket(i)
      // The ring still holds the addresses of the last batch, none of which is mapped any more.
      const failed = this.device.receive(this.#ringHigh, this.#ringLow, 1)
      if (failed !== 1) throw new Error('the device reached a buffer after its unmap')
      for (let i = 0; i < 15; i++) this.device.receive(this.#ringHigh, this.#ringLow, 1)
      this.#checkPacket(0)
    }
    const after = this.hypervisor.snapshot()
    const { made, ended } = after.mappings
    const open = before.mappings.made - before.mappings.ended
    if (made - ended !== open || after.references !== before.references) throw new Error('something is left mapped')
    if (made - before.mappings.made !== 2 * BUFFERS) throw new Error('a mapping was not made by the hypervisor')
  }

  #checkPacket(i: number): void {
    for (let at = 0; at < PACKET_BYTES; at++) {
      if (this.#buffers.read8(i * 4096 + at) !== wireByte(i, at)) throw new Error(`byte ${at} of packet ${i} is wrong`)
    }
    if (this.#buffers.read8(i * 4096 + PACKET_BYTES) !== 0) throw new Error(`there is something behind packet ${i}`)
  }

  /** Writes the descriptors of the mapped list, and lets the device fill its buffers. */
  #fill(batch: number): void {
    const words = this.#words
    const { dmaLow, dmaHigh } = this.#list
    for (let i = 0; i < batch; i++) {
      const at = this.#ringWord + i * (DESCRIPTOR_BYTES / 4)
      words[at] = dmaLow[i]!
      words[at + 1] = dmaHigh[i]!
      words[at + 2] = 0
      words[at + 3] = 0
    }
    if (this.device.receive(this.#ringHigh, this.#ringLow, batch) !== 0)
      throw new Error('a packet could not be written')
  }
}
