/** The units that drivers are tested on. */
import type { Machine } from '@iospace/machine'
import { AmdviDriver, MachinePort, VtdDriver } from '../../src/driver.ts'
import {
  AMDVI_BASE,
  type AmdviPersonality,
  installAmdvi,
  installVtd,
  VTD_BASE,
  type VtdPersonality,
} from '../../src/hardware.ts'
import { AmdviNeed, AmdviWalk, MachineTables, Need, VtdWalk } from '../../src/walk.ts'
import type { Installed, UnitUnderTest } from './driver-rig.ts'

export function vtdUnit(personality: VtdPersonality): UnitUnderTest {
  return {
    name: `vtd ${personality.name}`,
    absent: -5,
    doorbell: VTD_BASE + 0x88,
    poison: 0x777003n,
    install(machine: Machine): Installed {
      const { capabilities, hostAddressBits } = installVtd(machine, personality).personality
      const walk = new VtdWalk(new MachineTables(machine.memory), capabilities, hostAddressBits)
      return {
        port: (options) => new MachinePort(machine, { ...options, coherent: capabilities.coherent }),
        driver: (port, timeout) =>
          new VtdDriver(port, { base: VTD_BASE, ...(timeout === undefined ? {} : { timeout }) }),
        walk: (requester, hi, lo) =>
          walk.request(machine.mmio.read32(VTD_BASE + 0x20) >>> 12, requester, hi, lo, Need.write),
      }
    },
  }
}

export function amdviUnit(personality: AmdviPersonality): UnitUnderTest {
  return {
    name: `amdvi ${personality.name}`,
    absent: -8,
    doorbell: AMDVI_BASE + 0x2008,
    poison: 0x6000000000777001n,
    install(machine: Machine): Installed {
      const unit = installAmdvi(machine, personality)
      const walk = new AmdviWalk(new MachineTables(machine.memory), personality.features)
      return {
        port(options) {
          const port = new MachinePort(machine, { ...options, coherent: false })
          unit.onCoherent = (coherent) => (port.coherent = coherent)
          return port
        },
        driver: (port, timeout) =>
          new AmdviDriver(port, {
            base: AMDVI_BASE,
            requesters: 0x400,
            npCache: personality.npCache,
            setMessage: (addressLow, data) => unit.function.setMessage(addressLow, data),
            ...(timeout === undefined ? {} : { timeout }),
          }),
        walk(requester, hi, lo) {
          const table = machine.mmio.read32(AMDVI_BASE)
          return walk.request(table >>> 12, (table & 0x1ff) + 1, requester, hi, lo, AmdviNeed.write)
        },
      }
    },
  }
}
