/** The units that drivers are tested on. */
import type { Machine } from '@iospace/machine'
import {
  AmdviDriver,
  CalgaryDriver,
  type ConfigAccess,
  type DriverPort,
  findAmdviUnit,
  findGartNodes,
  GartDriver,
  MachinePort,
  VtdDriver,
} from '../../src/driver.ts'
import {
  AMDVI_BASE,
  type AmdviPersonality,
  CALGARY_BASE,
  type CalgaryPersonality,
  GART_APERTURE,
  type GartBoardOptions,
  type GartPersonality,
  installAmdvi,
  installCalgary,
  installGart,
  installVtd,
  VTD_BASE,
  type VtdPersonality,
} from '../../src/hardware.ts'
import {
  AmdviNeed,
  AmdviWalk,
  CalgaryNeed,
  CalgaryWalk,
  GartWalk,
  MachineTables,
  Need,
  VtdWalk,
} from '../../src/walk.ts'
import { changed, type Installed, type UnitUnderTest } from './driver-rig.ts'

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
            ...findAmdviUnit(machine.pci)!,
            requesters: 0x400,
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

/** `unmapped`: what becomes of accesses to pages that are not mapped. Only where they fail can the suites tell them from others. */
export function gartUnit(
  personality: GartPersonality,
  unmapped: 'scratch' | 'fail' = 'fail',
  options: GartBoardOptions = {},
): UnitUnderTest {
  const silent = new WeakMap<DriverPort, () => boolean>()
  return {
    name: `gart ${personality.name}`,
    absent: -1,
    doorbell: 0,
    poison: 0x0077700300777003n,
    origin: GART_APERTURE,
    flat: true,
    open: true,
    // InvGart reads 1 for ever, because the write never came.
    silence(port, broken) {
      const wrapped = changed(port, {})
      silent.set(wrapped, broken)
      return wrapped
    },
    install(machine: Machine): Installed {
      const gart = installGart(machine, personality, options)
      const walk = new GartWalk(new MachineTables(machine.memory))
      return {
        port(given) {
          const port = new MachinePort(machine, { ...given, coherent: true })
          gart.onCoherent = (coherent) => (port.coherent = coherent)
          return port
        },
        driver(port, timeout) {
          const isSilent = (offset: number) => offset === 0x9c && silent.get(port)?.() === true
          const config: ConfigAccess = {
            configRead: (bdf, offset, size) => machine.pci.configRead(bdf, offset, size) | Number(isSilent(offset)),
            configWrite(bdf, offset, size, value) {
              if (!isSilent(offset)) machine.pci.configWrite(bdf, offset, size, value)
            },
          }
          return new GartDriver(port, {
            nodes: findGartNodes(machine.pci),
            config,
            ramEnd: machine.memory.lowFrames * 4096,
            unmapped,
            ...(timeout === undefined ? {} : { timeout }),
          })
        },
        walk(_requester, hi, lo) {
          const [control, base, table] = [0x90, 0x94, 0x98].map((register) => machine.pci.configRead(0xc3, register, 4))
          return walk.request(control!, base!, table!, hi, lo)
        },
      }
    },
  }
}

/** A big-endian register as the CPU reads it. */
const swapped = (word: number): number => new DataView(new Uint32Array([word]).buffer).getInt32(0)

export function calgaryUnit(personality: CalgaryPersonality): UnitUnderTest {
  return {
    name: `calgary ${personality.name}`,
    absent: -2,
    doorbell: CALGARY_BASE + 0x8200,
    // 0x0000000000777003, the other way round.
    poison: 0x0370770000000000n,
    // CalIOC2 does not translate the first MiB; nor does anything that is below this.
    origin: 0x100_0000,
    flat: true,
    vague: true,
    afterTimeout: -1,
    // Requests seem to be under way for ever: the split queues never read 0xFF.
    silence: (port, broken) =>
      changed(port, {
        read32(address) {
          const value = port.read32(address)
          return (address & 0xf_cfff) === 0x4870 && broken() ? 0 : value
        },
      }),
    install(machine: Machine): Installed {
      const unit = installCalgary(machine, personality)
      const walk = new CalgaryWalk(new MachineTables(machine.memory), personality)
      return {
        port: (options) => new MachinePort(machine, { ...options, coherent: false }),
        driver: (port) => new CalgaryDriver(port, { chips: [CALGARY_BASE], deviceId: unit.personality.deviceId }),
        walk(requester, hi, lo) {
          const tar = CALGARY_BASE + 0x580 + 8 * Math.min(requester >>> 8, 3)
          const high = swapped(machine.mmio.read32(tar))
          return walk.request(high, swapped(machine.mmio.read32(tar + 4)), hi, lo, CalgaryNeed.write)
        },
      }
    },
  }
}
