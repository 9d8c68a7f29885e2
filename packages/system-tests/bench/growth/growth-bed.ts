/**
 * Systems of a size: many live mappings in one space, many domains with a space each, many devices with a space each. What is measured is
 * always the same: a list of pages is mapped and unmapped by the DMA API over hypercalls, strictly.
 */
import { DOMID, IOMMU_OP, iommu_attach_device, iommu_create_space } from '@iospace/abi'
import { Hypervisor, type DomainView } from '@iospace/hypervisor'
import { iommuModels } from '@iospace/iommu/hardware'
import { domainPlatform } from '@iospace/lab'
import {
  bootKernel,
  Direction,
  DmaIommu,
  DmaParameters,
  type Kernel,
  ScatterList,
  XenIommuDomain,
} from '@iospace/linux'
import { Command, Config, Machine } from '@iospace/machine'
import { assignDevice, buildDomain, DEFAULT_LIMITS, DomainControl, setLimits } from '@iospace/toolstack'
import { PACKET_BOARD_BYTES, PacketDevice } from '../packet/packet-device.ts'

/** Pages of a list. */
export const LIST = 64
/** Pages of a domain besides dom0. */
const PAGES = 128
const DOM0_PAGES = 8192
/** Functions of a device's bus. */
const FUNCTIONS = 8
/** A space begins behind page 0. */
const MIN_ADDRESS_BITS = 13
const BATCH = 512

/** A space, and a list of pages to map in it. */
export class Mapper {
  readonly #dma: DmaIommu
  readonly #list = new ScatterList(BATCH)
  readonly #pfn: number

  constructor(kernel: Kernel, space: number) {
    const parameters = new DmaParameters()
    parameters.maskBits = 64
    this.#dma = new DmaIommu(
      kernel.memory,
      new XenIommuDomain(kernel.hypercalls.gate, kernel.memory, space, MIN_ADDRESS_BITS),
      parameters,
    )
    this.#pfn = kernel.memory.allocate(LIST * 4096)!.pfn
  }

  /** Maps and unmaps {@link LIST} pages, one mapping each. */
  turn(): void {
    this.#map(LIST)
    this.#dma.unmapEach(this.#list, Direction.fromDevice)
  }

  /** Makes `count` mappings that stay. */
  fill(count: number): void {
    for (let done = 0; done < count; done += BATCH) this.#map(Math.min(BATCH, count - done))
  }

  #map(count: number): void {
    const list = this.#list
    list.reset()
    for (let i = 0; i < count; i++) list.add(this.#pfn + (i % LIST), 0, 4096)
    const mapped = this.#dma.mapEach(list, Direction.fromDevice)
    if (mapped !== count) throw new Error(`${count} pages could not be mapped: ${mapped}`)
  }
}

/** A machine with dom0 on it, VT-d in front of its memory, and `devices` functions. */
class Bed {
  readonly kernel: Kernel
  readonly sbdfs: number[] = []
  readonly kernels = new Map<number, Kernel>()

  constructor(frames: number, devices: number, dom0Pages: number = DOM0_PAGES) {
    const machine = new Machine({
      memory: { lowFrames: 8192, highFrames: frames, boardBytes: devices * (PACKET_BOARD_BYTES + 4096) + 256 * 4096 },
      seed: 1,
      turn: () => Promise.resolve(),
      hangLimit: Infinity,
    })
    let bus = 0
    for (let i = 0; i < devices; i++) {
      if (i % FUNCTIONS === 0) bus = machine.pci.addBridge(0, 8 + i / FUNCTIONS, 'root-port')
      machine.pci.add(bus, i % FUNCTIONS, new PacketDevice(machine))
      this.sbdfs.push((bus << 8) | (i % FUNCTIONS))
    }
    const model = iommuModels['vtd']!
    // 65536 domain ids: one for each space.
    model.install(machine, 'qemu48')
    const hypervisor = new Hypervisor({
      machine,
      iommu: (pages) => model.driver(machine, pages),
      boot: (view: DomainView) => void this.kernels.set(view.domid, bootKernel(domainPlatform(view, view.name))),
    })
    hypervisor.createDom0({ pages: dom0Pages, commandLine: 'iommu=xen' })
    this.kernel = this.kernels.get(0)!
  }
}

/** A space with `mappings` live mappings. */
export function withMappings(mappings: number): Mapper {
  const bed = new Bed(8192 + Math.ceil(mappings / 256), 1)
  const [sbdf] = bed.sbdfs
  bed.kernel.dma.open(sbdf!)
  const limits = {
    ...DEFAULT_LIMITS,
    pinned: 2 * mappings + LIST,
    tablePages: 1_000_000,
    defaultSpace: 'EMPTY' as const,
  }
  if (setLimits(bed.kernel, 0, limits) !== 0) throw new Error('set_limits')
  const mapper = new Mapper(bed.kernel, 0)
  mapper.fill(mappings)
  return mapper
}

/** `count` domains with a device and an empty default space each. */
export function withDomains(count: number): Mapper[] {
  const bed = new Bed(8192 + count * (PAGES + 64), count)
  const control = new DomainControl(bed.kernel)
  return Array.from({ length: count }, (_, i) => {
    const { domid } = buildDomain(bed.kernel, control, { name: `domain-${i}`, pages: PAGES, commandLine: '' })
    if (setLimits(bed.kernel, domid, { ...DEFAULT_LIMITS, defaultSpace: 'EMPTY' }) !== 0) throw new Error('set_limits')
    assignDevice(bed.kernel, control, domid, bed.sbdfs[i]!)
    if (control.unpause(domid) !== 0) throw new Error('unpause')
    return new Mapper(bed.kernels.get(domid)!, 0)
  })
}

/** `count` devices of dom0, attached to a space of their own each. */
export function withDevices(count: number): Mapper[] {
  const { kernel, sbdfs } = new Bed(8192 + count * 2 * PAGES, count, DOM0_PAGES + count * PAGES)
  return sbdfs.map((sbdf) => {
    kernel.platform.configWrite(sbdf, Config.command, 2, Command.memory | Command.busMaster)
    const zero = iommu_create_space.zero()
    const devices = [sbdf, ...zero.devices.slice(1)]
    const made = { ...zero, size: iommu_create_space.size, domid: DOMID.SELF, device_count: 1, devices }
    if (kernel.hypercalls.call('iommu_op', IOMMU_OP.create_space, iommu_create_space, made) !== 0)
      throw new Error('create_space')
    const { space } = made
    const attach = { ...iommu_attach_device.zero(), size: iommu_attach_device.size, domid: DOMID.SELF }
    const rc = kernel.hypercalls.call('iommu_op', IOMMU_OP.attach_device, iommu_attach_device, {
      ...attach,
      space,
      device: sbdf,
    })
    if (rc !== 0) throw new Error('attach_device')
    return new Mapper(kernel, space)
  })
}
