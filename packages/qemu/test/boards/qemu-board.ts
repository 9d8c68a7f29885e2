import { amdvi, edu, openEdu, QEMU_AMDVI_BASE, QEMU_VTD_BASE, QemuDriverPort } from '../../src/index.ts'
import { QemuMachine, rootPort, vtd, type EduDriver } from '../../src/index.ts'
import { qemuPath } from '../qemu.ts'
import { BOARD_MEBIBYTES, EDU_BAR, EDU_FUNCTIONS, INTERRUPT_COUNTERS, ROOT_PORT, type Board } from './board.ts'

/** QEMU's board with a VT-d unit of so many address bits, or with an AMD-Vi unit; `interrupts` are remapped or are not. */
export function qemuBoard(iommu: 39 | 48 | 'Amd', { interrupts = false } = {}): Board {
  const amd = iommu === 'Amd'
  const onBus0 = EDU_FUNCTIONS.slice(0, -1).map((bdf) => edu(bdf >> 3))
  const devices = [
    amd ? amdvi({ interrupts }) : vtd({ addressBits: iommu, interrupts }),
    rootPort(5, 'bus1'),
    ...onBus0,
    edu(0, 'bus1'),
  ]
  const machine = new QemuMachine({
    qemu: qemuPath,
    mebibytes: BOARD_MEBIBYTES,
    devices,
    interruptCounters: INTERRUPT_COUNTERS * 4096,
  })
  const { memory, mmio, pci } = machine
  const drivers = new Map<number, EduDriver>()
  try {
    // What firmware would do: bus 1 and the last BAR's range behind the root port.
    const base = (EDU_BAR + (EDU_FUNCTIONS.length - 1) * 0x10_0000) >>> 16
    pci.configWrite(ROOT_PORT, 0x18, 4, 0x01_01_00)
    pci.configWrite(ROOT_PORT, 0x20, 4, (base << 16) | base)
    pci.configWrite(ROOT_PORT, 0x04, 2, 0x6)
    EDU_FUNCTIONS.forEach((bdf, i) => drivers.set(bdf, openEdu(pci, mmio, bdf, EDU_BAR + i * 0x10_0000)))
  } catch (error) {
    machine[Symbol.dispose]()
    throw error
  }
  return {
    name: `qemu${iommu}`,
    memory,
    mmio,
    pci,
    kind: amd ? 'amdvi' : 'vtd',
    unit: amd ? QEMU_AMDVI_BASE : QEMU_VTD_BASE,
    devices: drivers,
    driverPort: (pages) => new QemuDriverPort(machine, pages),
    interrupts: (vector) => machine.interrupts(vector),
    // QEMU carries out what it is sent in order, reads included.
    settle: () => {},
    [Symbol.dispose]: () => machine[Symbol.dispose](),
  }
}
