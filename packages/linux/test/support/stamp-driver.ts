import { Direction, type PciDriver } from '@iospace/linux'

export const stampDriver: PciDriver = {
  name: 'stamp',
  ids: [{ vendor: 0xf0f0, device: 0x57a3 }],
  async probe(device) {
    device.enable()
    const done = device.kernel.queue('the stamp')
    device.onInterrupt(() => done.wake())
    const page = device.kernel.memory.allocate(4096)!
    {
      using mapping = device.dma.map(page, Direction.fromDevice)!
      device.bar(0).write32(0, mapping.address)
      await done.wait()
    }
    device.kernel.log(`stamped with ${page.read8(0)}`)
    device.kernel.memory.free(page)
  },
}
