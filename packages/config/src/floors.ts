/**
 * The table of floors: which package may import which. Three things are checked against it: the dependencies in every
 * `package.json`, the lint rules (made from it by `lint.ts`), and one wrong import per floor that the linter must catch.
 */
export interface Floor {
  /** The name in `package.json`. */
  readonly name: string
  /** The folder, from the root of the repository. */
  readonly folder: string
  /** How far up the house it stands; null outside it. */
  readonly floor: number | null
  /** Package names, or single entries of a package, that it may import. Tests and benchmarks obey this too. */
  readonly may: readonly string[]
  /** Part of the deterministic simulation: its sources see no time, randomness, environment or files. */
  readonly simulation: boolean
  /** The files, from its folder, that may import `node:` modules. */
  readonly host: readonly string[]
}

const WIRE = '@iospace/wire'
const ABI = '@iospace/abi'
const MACHINE = '@iospace/machine'
const IOMMU = '@iospace/iommu'
const DEVICES = '@iospace/devices'
const HYPERVISOR = '@iospace/hypervisor'
const LINUX = '@iospace/linux'
const TOOLSTACK = '@iospace/toolstack'
const LAB = '@iospace/lab'
const QEMU = '@iospace/qemu'
const PROGRAMS = ['@iospace/driver-domain', '@iospace/guest', '@iospace/dom0']
const BELOW_LAB = [WIRE, ABI, MACHINE, IOMMU, DEVICES, HYPERVISOR, LINUX, TOOLSTACK]

/** Tests and benchmarks run on the host, whatever their package may not do. */
const TESTS = ['test/**', 'bench/**']

const simulated = (floor: number, folder: string, name: string, may: readonly string[]): Floor => ({
  name,
  folder,
  floor,
  may,
  simulation: true,
  host: TESTS,
})

export const FLOORS: readonly Floor[] = [
  simulated(0, 'packages/wire', WIRE, []),
  simulated(1, 'packages/abi', ABI, [WIRE]),
  simulated(1, 'packages/machine', MACHINE, [WIRE]),
  simulated(2, 'packages/iommu', IOMMU, [WIRE, MACHINE]),
  simulated(2, 'packages/devices', DEVICES, [WIRE, MACHINE]),
  simulated(3, 'packages/hypervisor', HYPERVISOR, [WIRE, ABI, MACHINE, IOMMU]),
  // The guest kernel never sees the hypervisor, and of an IOMMU only its facts and its driver, never the hardware.
  simulated(3, 'packages/linux', LINUX, [WIRE, ABI, MACHINE, `${IOMMU}/spec`, `${IOMMU}/driver`]),
  simulated(4, 'packages/toolstack', TOOLSTACK, [WIRE, ABI, LINUX]),
  simulated(4, 'apps/driver-domain', '@iospace/driver-domain', [WIRE, ABI, LINUX]),
  simulated(4, 'apps/guest', '@iospace/guest', [WIRE, ABI, LINUX]),
  simulated(4, 'apps/dom0', '@iospace/dom0', [WIRE, ABI, LINUX, TOOLSTACK]),
  {
    name: LAB,
    folder: 'packages/lab',
    floor: 5,
    may: BELOW_LAB,
    simulation: false,
    host: [...TESTS, 'src/testing.ts', 'src/testing/**'],
  },
  {
    name: QEMU,
    folder: 'packages/qemu',
    floor: 5,
    // Of the devices the one that QEMU has too, for its tests on our board.
    may: [WIRE, MACHINE, IOMMU, DEVICES],
    simulation: false,
    host: [...TESTS, 'src/**'],
  },
  {
    name: 'iospace',
    folder: 'apps/iospace',
    floor: 6,
    may: [...BELOW_LAB, LAB, QEMU, ...PROGRAMS],
    simulation: false,
    host: [...TESTS, 'src/**'],
  },
  {
    name: '@iospace/config',
    folder: 'packages/config',
    floor: null,
    may: [],
    simulation: false,
    host: ['**'],
  },
  {
    name: '@iospace/system-tests',
    folder: 'packages/system-tests',
    floor: null,
    may: [...BELOW_LAB, LAB, QEMU, ...PROGRAMS, 'iospace', '@iospace/config'],
    simulation: false,
    host: ['**'],
  },
]

/** The entries of the packages that can be allowed one by one. */
export const ENTRIES: Readonly<Record<string, readonly string[]>> = {
  [IOMMU]: ['spec', 'walk', 'hardware', 'driver'],
}
