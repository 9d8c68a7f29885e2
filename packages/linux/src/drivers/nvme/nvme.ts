/** The NVMe driver: binds the class, starts the controller, makes a block device of each namespace. */
import { Errno } from '@iospace/abi'
import type { PciDevice } from '../../pci/pci-device.ts'
import type { PciDriver } from '../../pci/pci-driver.ts'
import { CommandSlots } from './command-slots.ts'
import { NvmeController } from './controller.ts'
import { NvmeNamespace, type NamespaceGeometry } from './namespace.ts'
import type { QueuePair } from './queue-pair.ts'
import { Cns, IdentifyController, IdentifyNamespace, SQE_BYTES, WRITE_PROTECTED } from './spec.ts'
import { Watchdog } from './watchdog.ts'

/** PCI class: mass storage, non-volatile memory, NVM Express. */
const NVME_CLASS = 0x010802
/** A submission queue fills a page at most. */
const MAX_DEPTH = 4096 / SQE_BYTES
const NO_LIMIT = 2 ** 40

export const nvmeDriver: PciDriver = {
  name: 'nvme',
  ids: [{ class: NVME_CLASS }],
  async probe(device) {
    const { dma, kernel } = device
    device.enable()
    const masked = dma.setMask(64)
    if (masked !== 0) return masked
    // Before any limit is asked for: what bounces must keep its offset in the page.
    dma.setMinAlignMask(4095)
    dma.setMaxSegmentSize(0xffff_ffff)
    const controller = new NvmeController(device)
    const namespaces: NvmeNamespace[] = []
    device.defer(() => controller.free())
    device.defer(() => controller.shutDown())
    const interrupts = device.onInterrupt(() => {
      controller.poll()
      // By index: an iterator each time would be garbage.
      for (let i = 0; i < namespaces.length; i++) namespaces[i]!.poll()
    })
    if (interrupts !== 0) return interrupts
    const started = await controller.start()
    if (started !== 0) return started
    const maxBytes = await maxTransfer(controller)
    if (maxBytes < 0) return maxBytes
    const ids = await controller.namespaces()
    if (typeof ids === 'number') return ids
    // One queue pair serves one namespace; further namespaces would need further pairs.
    const [id] = ids
    if (id === undefined) return 0
    const geometry = await describe(controller, id, deviceName(device), maxBytes)
    if (typeof geometry === 'number') return geometry
    const depth = Math.min(MAX_DEPTH, controller.maxEntries)
    const queue = await controller.createQueuePair(depth)
    if (typeof queue === 'number') return queue
    const namespace = await attach(device, controller, queue, geometry, depth - 1)
    if (namespace === null) return -Errno.ENOMEM
    namespaces.push(namespace)
    kernel.block.add(namespace)
    return 0
  },
}

async function attach(
  device: PciDevice,
  controller: NvmeController,
  queue: QueuePair,
  geometry: NamespaceGeometry,
  commands: number,
): Promise<NvmeNamespace | null> {
  const { dma, kernel } = device
  const slots = CommandSlots.create(dma, commands)
  if (slots === null) {
    await controller.shutDown()
    queue.free()
    return null
  }
  const watchdog = new Watchdog(controller)
  const namespace = new NvmeNamespace(
    geometry,
    dma,
    queue,
    slots,
    () => kernel.now(),
    () => watchdog.wake(),
  )
  watchdog.watch(namespace)
  device.defer(async () => {
    kernel.block.remove(namespace)
    watchdog.stop()
    await controller.shutDown()
    namespace.fail()
    slots.free()
    queue.free()
  })
  return namespace
}

async function maxTransfer(controller: NvmeController): Promise<number> {
  const data = await controller.identify(Cns.controller, 0)
  if (typeof data === 'number') return data
  const shift = data.buffer.read8(IdentifyController.maxTransfer)
  controller.dma.freeCoherent(data)
  return shift === 0 ? NO_LIMIT : 4096 * 2 ** shift
}

async function describe(
  controller: NvmeController,
  id: number,
  name: string,
  maxBytes: number,
): Promise<NamespaceGeometry | number> {
  const data = await controller.identify(Cns.namespace, id)
  if (typeof data === 'number') return data
  const { buffer } = data
  const blocks = buffer.read32(IdentifyNamespace.size) + buffer.read32(IdentifyNamespace.size + 4) * 0x1_0000_0000
  const format = buffer.read8(IdentifyNamespace.formatIndex) & 0xf
  const blockShift = buffer.read8(IdentifyNamespace.formats + 4 * format + 2)
  const readonly = (buffer.read8(IdentifyNamespace.attributes) & WRITE_PROTECTED) !== 0
  controller.dma.freeCoherent(data)
  if (blockShift < 9 || blockShift > 12) return -Errno.EINVAL
  return { name: `${name}n${id}`, id, blocks, blockShift, readonly, maxBytes }
}

/** `nvme0`, `nvme1`…: the first that no controller has, in the order of binding. */
function deviceName({ kernel }: PciDevice): string {
  const names = kernel.block.names()
  for (let index = 0; ; index++) {
    if (!names.some((name) => name.startsWith(`nvme${index}n`))) return `nvme${index}`
  }
}
