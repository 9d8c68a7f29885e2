/** The system of a storage run, as a description: one driver domain with the disks, one guest with the rogue device. */
import type { DeviceDescription, SystemDescription } from '@iospace/lab'
import type { DmaChoice, IommuChoice } from './options.ts'
import { PROTECTION } from './protection.ts'

export interface StorageSystem {
  readonly dma: DmaChoice
  readonly iommu: IommuChoice
  /** Default: the model's own. */
  readonly personality?: string | null
  readonly seed: number
  /** True length of the disk that is read. */
  readonly bytes: number
  /** Whether there is a second disk to write to. */
  readonly writes: boolean
  /** Virtual ns that a task may run without waiting. */
  readonly hangLimit?: number
}

/** Names by which the programs and files of the run are known. */
export const Name = { dom0: 'dom0', driverDomain: 'driver-domain', guest: 'guest', image: 'image', out: 'out' } as const

/** What `--dma` means to the driver domain's kernel, in Linux's grammar. */
const KERNEL_WORDS: Readonly<Record<DmaChoice, string>> = {
  auto: '',
  xen: 'iommu=xen',
  swiotlb: 'swiotlb=4096,force',
  nommu: 'iommu=off',
}

export function storageSystem({
  dma,
  iommu,
  personality,
  seed,
  bytes,
  writes,
  hangLimit,
}: StorageSystem): SystemDescription {
  const devices: DeviceDescription[] = [
    { kind: 'nvme', name: 'nvme0', store: Name.image },
    { kind: 'rogue', name: 'rogue' },
  ]
  if (writes) devices.push({ kind: 'nvme', name: 'nvme1', store: Name.out })
  const disk = { backend: Name.driverDomain, bytes }
  const { isolates, interrupts } = PROTECTION[iommu]
  const limits = {
    // What this board cannot protect dom0 must accept in so many words.
    unsafeInterrupts: !interrupts,
    unsafePassthrough: isolates === 'nothing',
    // A table of the Calgary takes 8 MiB, whatever is in it.
    ...(iommu === 'calgary' ? { tablePages: 4096 } : {}),
  }
  // Its tables reach 4 GiB, so its board has no memory above: the page that is lent has a bus address, too.
  const memory = iommu === 'calgary' ? { lowMiB: 96, highMiB: 0 } : { lowMiB: 48, highMiB: 48 }
  return {
    seed,
    memory,
    iommu,
    ...(personality === null || personality === undefined ? {} : { personality }),
    devices,
    dom0: { program: Name.dom0, memoryMiB: 8 },
    domains: [
      {
        name: Name.driverDomain,
        program: Name.driverDomain,
        memoryMiB: 16,
        commandLine: KERNEL_WORDS[dma],
        devices: devices.flatMap(({ kind, name }) => (kind === 'nvme' ? [name] : [])),
        // What the kernel would make of a mirror anyway: so there is none to fill and to throw away.
        limits: dma === 'xen' && isolates !== 'nothing' ? { ...limits, defaultSpace: 'EMPTY' } : limits,
        service: true,
      },
      {
        name: Name.guest,
        program: Name.guest,
        memoryMiB: 16,
        // Bus addresses of its device are machine addresses, so an attack is on what it says.
        commandLine: 'iommu=off',
        devices: ['rogue'],
        borrows: true,
        disks: [
          { ...disk, name: 'xvda', params: 'nvme0n1', readOnly: true },
          ...(writes ? [{ ...disk, name: 'xvdb', params: 'nvme1n1', readOnly: false }] : []),
        ],
        limits,
      },
    ],
    ...(hangLimit === undefined ? {} : { hangLimit }),
  }
}
