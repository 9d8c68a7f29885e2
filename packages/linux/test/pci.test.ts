import { readFileSync } from 'node:fs'
import { Command, Config } from '@iospace/machine'
import { describe, expect, test } from 'vitest'
import { Direction, type PciDriver } from '../src/index.ts'
import { bootBare, type Bare } from './support/bare.ts'
import { StampDevice } from './support/stamp-device.ts'
import { stampDriver } from './support/stamp-driver.ts'

function rig(commandLine = 'iommu=off'): Bare & { log: string[] } {
  const bare = bootBare({ commandLine: `dma_debug=on ${commandLine}` })
  for (const devfn of [8, 16]) bare.machine.pci.add(0, devfn, new StampDevice(bare.machine))
  const log: string[] = []
  bare.kernel.log = (text): void => void log.push(text)
  return { ...bare, log }
}

test('the driver in the README is this one, and it runs unchanged over every backend', async () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const driver = readFileSync(new URL('./support/stamp-driver.ts', import.meta.url), 'utf8')
  expect(readme).toContain(driver.trim())
  for (const commandLine of ['iommu=off', 'swiotlb=force', 'iommu=soft']) {
    const { kernel, run, log } = rig(commandLine)
    await run(async () => {
      expect((await kernel.pci.register(stampDriver)).length).toBe(2)
      await kernel.shutdown()
    })
    expect(log).toEqual(['stamped with 90', 'stamped with 90'])
    expect(kernel.dma.debug!.reports).toEqual([])
    expect(kernel.dma.bouncedPayload).toBe(commandLine === 'swiotlb=force' ? 8192 : 0)
  }
})

describe('the bus', () => {
  const driver = (ids: PciDriver['ids'], probe: PciDriver['probe']): PciDriver => ({ name: 'test', ids, probe })

  test('binds by vendor and device or by class, each function once', async () => {
    const { kernel, run } = rig()
    await run(async () => {
      expect(
        await kernel.pci.register(driver([{ vendor: 0xf0f0, device: 1 }, { class: 0x010802 }], async () => 0)),
      ).toEqual([])
      expect(
        (await kernel.pci.register(driver([{ class: 0xff0000 }], async () => {}))).map(({ name }) => name),
      ).toEqual(['0000:00:01.0', '0000:00:02.0'])
      expect(await kernel.pci.register(stampDriver)).toEqual([])
      const [first] = kernel.pci.bound()
      expect(await kernel.pci.unbind(first!.device)).toBe(0)
      expect(await kernel.pci.unbind(first!.device)).toBe(-19)
      expect((await kernel.pci.register(stampDriver)).length).toBe(1)
    })
  })

  test('what a driver deferred is undone last first, then the bus is taken from the function, when probe fails or the kernel stops', async () => {
    const { kernel, run, log, machine } = rig()
    const steps: string[] = []
    const failing = driver([{ class: 0xff0000 }], async (device) => {
      device.enable()
      device.defer(() => void steps.push(`${device.name} first`))
      device.defer(async () => {
        await kernel.sleep(1000)
        steps.push(
          `${device.name} second, mastering ${(machine.pci.configRead(device.sbdf, Config.command, 2) & Command.busMaster) !== 0}`,
        )
      })
      return device.sbdf === 8 ? -5 : 0
    })
    await run(async () => {
      expect((await kernel.pci.register(failing)).map(({ sbdf }) => sbdf)).toEqual([16])
      expect(steps).toEqual(['0000:00:01.0 second, mastering true', '0000:00:01.0 first'])
      expect(machine.pci.configRead(8, Config.command, 2) & Command.busMaster).toBe(0)
      await kernel.shutdown()
    })
    expect(steps.slice(2)).toEqual(['0000:00:02.0 second, mastering true', '0000:00:02.0 first'])
    expect(log).toEqual(['test 0000:00:01.0: probe failed with error EIO'])
  })

  test('a driver that lets go of its device with something mapped is reported (dma-debug class 21)', async () => {
    const { kernel, run } = rig()
    const leaking = driver([{ class: 0xff0000 }], async (device) => {
      device.dma.mapSingle(kernel.memory.allocate(4096)!, Direction.toDevice)
    })
    await run(async () => {
      await kernel.pci.register(leaking)
      await kernel.shutdown()
    })
    expect(kernel.dma.debug!.reports.map((report) => report.class)).toEqual(['leaked', 'leaked'])
  })

  test('an interrupt that was released comes no more, and its vector is free again', async () => {
    const { kernel, run } = rig()
    let interrupts = 0
    const listening = driver([{ class: 0xff0000 }], async (device) => {
      device.enable()
      expect(device.onInterrupt(() => interrupts++)).toBe(0)
      device.bar(0).write32(0, 0x10000)
      await kernel.sleep(1e6)
    })
    await run(async () => {
      const [device] = await kernel.pci.register(listening)
      expect(interrupts).toBe(2)
      const registers = device!.bar(0)
      await kernel.pci.unbind(device!)
      registers.write32(0, 0x10000)
      await kernel.sleep(1e6)
      expect(interrupts).toBe(2)
      await kernel.pci.register(listening)
      expect(interrupts).toBe(3)
    })
  })
})

describe('which backend a device gets follows from the command line', () => {
  test.each([
    ['iommu=off', 'nommu'],
    ['swiotlb=force', 'swiotlb'],
    ['iommu=off swiotlb=force', 'swiotlb'],
    ['iommu=soft', 'swiotlb'],
    ['', 'swiotlb'],
    ['swiotlb=noforce', 'nommu'],
  ])('%s', (commandLine, name) => {
    expect(rig(commandLine).kernel.dma.open(8).backend).toBe(name)
  })

  test('iommu=xen where there is no hypervisor is a mistake of the configuration', () => {
    expect(() => rig('iommu=xen').kernel.dma.open(8)).toThrow(/the hypervisor has no I\/O space for 0000:00:01.0/)
  })
})
