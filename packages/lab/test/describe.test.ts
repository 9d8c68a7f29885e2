import { describe, expect, test } from 'vitest'
import { planOf, sbdfOf, type SystemDescription } from '../src/describe.ts'

const description: SystemDescription = {
  seed: 1,
  memory: { lowMiB: 16, highMiB: 16 },
  iommu: 'vtd',
  devices: [
    { kind: 'nvme', name: 'disk', store: 'file' },
    { kind: 'rogue', name: 'rogue' },
  ],
  dom0: { program: 'dom0', memoryMiB: 8 },
  domains: [
    { name: 'a', program: 'server', memoryMiB: 4, devices: ['disk'], service: true, commandLine: 'iommu=xen' },
    {
      name: 'b',
      program: 'client',
      memoryMiB: 2,
      devices: ['rogue'],
      limits: { unsafeInterrupts: true },
      disks: [{ name: 'xvda', backend: 'a', params: 'nvme0n1', readOnly: true, bytes: 5 }],
    },
  ],
}

const changed = (change: (domains: SystemDescription['domains']) => SystemDescription['domains']) => () =>
  planOf({ ...description, domains: change(description.domains) })

describe('a description', () => {
  test('becomes the plan of the control domain: addresses, pages, command lines, whole limits', () => {
    const [a, b] = planOf(description)
    expect(a).toMatchObject({
      name: 'a',
      pages: 1024,
      commandLine: 'init=server iommu=xen',
      service: true,
      borrows: false,
    })
    expect(a?.devices).toEqual([{ sbdf: sbdfOf(description, 'disk'), name: sbdfOf(description, 'disk') }])
    expect(b).toMatchObject({ pages: 512, commandLine: 'init=client', service: false })
    expect(b?.limits).toMatchObject({ unsafeInterrupts: true, unsafePassthrough: false, defaultSpace: 'MIRROR' })
    expect(b?.disks).toEqual(description.domains[1]?.disks)
  })

  test('puts each device behind a root port of its own', () => {
    expect([sbdfOf(description, 'disk'), sbdfOf(description, 'rogue')]).toEqual([0x100, 0x200])
  })

  test('that does not fit together is a ConfigError', () => {
    expect(() => sbdfOf(description, 'nic')).toThrow('is not on the board')
    expect(changed(([a]) => [a!, a!])).toThrow('is described twice')
    expect(changed(([a, b]) => [a!, { ...b!, devices: ['disk'] }])).toThrow('is given to two domains')
    expect(changed(([a]) => [{ ...a!, devices: ['nic'] }])).toThrow('is not on the board')
    expect(changed(([, b]) => [b!])).toThrow('is not a domain described earlier')
  })
})
