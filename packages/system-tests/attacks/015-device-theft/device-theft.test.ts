import * as abi from '@iospace/abi'
import { VTD_BASE } from '@iospace/iommu/hardware'
import type { System } from '@iospace/lab'
import { Capability, Command, Config, DmaOutcome, Express, Msi } from '@iospace/machine'
import { expect, test } from 'vitest'
import { call, iommuOp } from '../../support/calls.ts'
import { page } from '../../support/raw-frontend.ts'
import { Rogue } from '../../support/rogue.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const NVME = 0x100
const ROGUE = 0x200
const ONES = 0xffff_ffff
/** Bytes of configuration space that matter: header, capabilities. */
const CONFIG = 0x100

/** What the machine itself has in a function's configuration space. */
const configOf = (system: System, bdf: number): number[] =>
  Array.from({ length: CONFIG / 4 }, (_, i) => system.machine.pci.at(bdf)!.config.read(4 * i, 4))

test('of other functions, and of the IOMMU, a guest sees all ones and changes nothing (mediated configuration; I9, I17)', async () => {
  const seen = new Set<number>()
  const answers: (number | undefined)[] = []
  let system!: System
  let same: boolean[] = []
  const played = await play({
    rogue: true,
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      await kernel.sleep(1.2e6)
      const { platform } = kernel
      const { machine } = system
      const strangers = [NVME, 0x08, 0x10, 0x00, 0x300, 0xffff, 0x1_0100]
      const before = [NVME, 0x08, 0x10].map((bdf) => configOf(system, bdf))
      const nvmeBar = machine.pci.barAddress(machine.pci.at(NVME)!, 0)
      const registers = (): number[] =>
        [0x1c, 0x20, 0x24, 0x80, 0x88].map((offset) => machine.mmio.read32(VTD_BASE + offset))
      for (const sbdf of strangers) {
        for (let offset = 0; offset < CONFIG; offset += 4) {
          seen.add(platform.configRead(sbdf, offset, 4))
          platform.configWrite(sbdf, offset, 4, 0)
          platform.configWrite(sbdf, offset, 4, ONES)
        }
      }
      // Registers of the disk controller, of the IOMMU, and memory as if it were registers.
      const ram = system.hypervisor.oracle.addressOf(Domid.dom0, abi.START_INFO_PFN)
      const ownBar = (await Rogue.bind(kernel)).registers.base
      const unit = registers()
      for (const base of [nvmeBar, VTD_BASE, ram, ownBar - 0x1000, ownBar + 0x2000, 0, 2 ** 40]) {
        for (const offset of [0, 0x14, 0x18, 0x1c, 0x20, 0x88]) {
          seen.add(platform.read32(base + offset))
          // What would turn them off, or translation.
          if (base !== VTD_BASE || offset !== 0x88) platform.write32(base + offset, offset === 0x18 ? 0 : ONES)
        }
      }
      for (const odd of [ownBar + 1, ownBar + 2, -4, Number.NaN, Infinity]) seen.add(platform.read32(odd))
      // The controller itself refuses nothing here; it was never asked: its enable bit stands as the driver domain set it.
      same = [
        JSON.stringify([NVME, 0x08, 0x10].map((bdf) => configOf(system, bdf))) === JSON.stringify(before),
        JSON.stringify(registers().slice(0, 3)) === JSON.stringify(unit.slice(0, 3)),
        (machine.mmio.read32(nvmeBar + 0x14) & 1) === 1,
      ]
      const map = {
        domid: abi.DOMID.SELF,
        type: abi.MAP_PIRQ_TYPE.MSI_SEG,
        pirq: -1,
        index: -1,
        bus: NVME >> 8,
        devfn: NVME & 0xff,
      }
      answers.push(call(kernel, 'physdev_op', abi.PHYSDEVOP.map_pirq, abi.physdev_map_pirq, map).result)
      answers.push(iommuOp(kernel, abi.IOMMU_OP.attach_device, abi.iommu_attach_device, { device: NVME }).result)
      answers.push(iommuOp(kernel, abi.IOMMU_OP.detach_device, abi.iommu_detach_device, { device: NVME }).result)
      answers.push(iommuOp(kernel, abi.IOMMU_OP.query_device, abi.iommu_query_device, { device: NVME }).result)
      const devices = [NVME, ...abi.iommu_create_space.zero().devices.slice(1)]
      answers.push(
        iommuOp(kernel, abi.IOMMU_OP.create_space, abi.iommu_create_space, { device_count: 1, devices }).result,
      )
    },
  })
  expect([...seen]).toEqual([ONES])
  expect(same).toEqual([true, true, true])
  expect(answers).toEqual(answers.map(() => -abi.Errno.ENODEV))
  await expectUnharmed(played)
})

test('its own BARs do not move, its message is the hypervisor’s, its reset keeps both (I21, CVE-2011-1898)', async () => {
  const seen: Record<string, unknown> = {}
  let system!: System
  const played = await play({
    rogue: true,
    prepare: (built) => (system = built),
    attacker: async (kernel) => {
      const { platform } = kernel
      const rogue = await Rogue.bind(kernel)
      const { device } = rogue
      seen['it has an interrupt'] = device.onInterrupt(() => undefined)
      const { config } = system.machine.pci.at(ROGUE)!
      const msi = config.findCapability(Capability.msi)
      const express = config.findCapability(Capability.pciExpress)
      const nvmeBar = system.machine.pci.barAddress(system.machine.pci.at(NVME)!, 0)
      const bar = config.read(Config.bar0, 4)
      const message = (): number[] =>
        [Msi.control, Msi.address, Msi.upperAddress, Msi.data].map((at) =>
          config.read(msi + at, at === Msi.control || at === Msi.data ? 2 : 4),
        )
      const before = message()
      // BARs: to another device's, to RAM, to nothing; and the question for the size, which is answered and forgotten.
      for (const value of [nvmeBar, 0x10_0000, 0, 1, 0xfed9_0000]) platform.configWrite(ROGUE, Config.bar0, 4, value)
      platform.configWrite(ROGUE, Config.bar0, 2, 0x1234)
      platform.configWrite(ROGUE, Config.bar0, 4, 0xffff_ffff)
      seen['size'] = platform.configRead(ROGUE, Config.bar0, 4)
      platform.configWrite(ROGUE, Config.bar0, 4, nvmeBar)
      seen['bar'] = [platform.configRead(ROGUE, Config.bar0, 4) === bar, config.read(Config.bar0, 4) === bar]
      // The message: another vector, another address; and what is there is not told.
      for (const [at, size, value] of [
        [Msi.address, 4, 0x1000],
        [Msi.upperAddress, 4, 1],
        [Msi.data, 2, 0x31],
        [Msi.control, 2, 0],
        [Msi.control, 4, 0],
        [0, 4, 0],
        [Msi.data, 4, 0x31],
      ] as const)
        platform.configWrite(ROGUE, msi + at, size as 2 | 4, value)
      seen['message'] = [
        JSON.stringify(message()) === JSON.stringify(before),
        platform.configRead(ROGUE, msi + Msi.address, 4),
        platform.configRead(ROGUE, msi + Msi.data, 2),
      ]
      // The command register: what is safe, and nothing else.
      platform.configWrite(ROGUE, Config.command, 4, 0xffff_ffff)
      seen['command'] = config.read(Config.command, 2)
      for (let offset = 0; offset < 0x40; offset += 4)
        if (offset !== Config.command) platform.configWrite(ROGUE, offset, 4, 0xa5a5_a5a5)
      seen['ids'] = [platform.configRead(ROGUE, Config.vendor, 2), platform.configRead(ROGUE, Config.device, 2)]
      // A reset of its own function, and of no other.
      platform.configWrite(ROGUE, express + Express.deviceControl, 2, Express.initiateReset)
      seen['after reset'] = [
        config.read(Config.bar0, 4) === bar,
        JSON.stringify(message()) === JSON.stringify(before),
        config.read(Config.command, 2) & Command.busMaster,
      ]
      device.enable()
      const own = page(kernel)
      seen['it works'] = rogue.read(kernel.memory.platform.machineFrame(own.pfn) * 4096, new Uint8Array(4))
    },
  })
  expect(seen).toEqual({
    'it has an interrupt': 0,
    size: 0xffff_e000,
    bar: [true, true],
    message: [true, 0, 0],
    command: Command.memory | Command.busMaster | Command.interruptDisable,
    ids: [0xf0f0, 0x0bad],
    'after reset': [true, true, 0],
    'it works': DmaOutcome.translated,
  })
  await expectUnharmed(played)
})
