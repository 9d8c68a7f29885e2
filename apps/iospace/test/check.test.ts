import { describe, expect, test } from 'vitest'
import { brokenPromises, FORGED_INTERRUPT, type Evidence, type Promised } from '../src/storage/check.ts'
import { IOMMU_CHOICES, type DmaChoice } from '../src/storage/options.ts'
import { PROTECTION } from '../src/storage/protection.ts'
import type { AttackRow } from '../src/storage/report.ts'

const attack = (facts: Partial<AttackRow> = {}): AttackRow => ({
  name: 'dom0 kernel page',
  attempted: true,
  reachedHardware: true,
  blocked: true,
  bytesChanged: 0,
  control: true,
  faultSeen: true,
  restored: true,
  ...facts,
})

const evidence = (facts: Partial<Evidence> = {}): Evidence => ({
  dma: 'xen',
  iommu: 'vtd',
  personality: 'sandybridge-ep',
  protection: PROTECTION.vtd,
  seed: 1,
  sha256: 'aa',
  expectedSha256: 'aa',
  bytes: 1000,
  requests: 1,
  hypercalls: {},
  mappings: { made: 3, ended: 3 },
  translatedBytes: 1000,
  cpuCopiedBytes: 0,
  iotlb: { hits: 1, misses: 1 },
  faults: 2,
  references: 0,
  attacks: [attack()],
  virtualNs: 1,
  hostMs: 1,
  ...facts,
})

const xen: Promised = { dma: 'xen', iommu: 'vtd' }
const none: Promised = { dma: 'nommu', iommu: 'none' }

describe('what a run promises', () => {
  test('a good run breaks nothing, with each way of DMA', () => {
    expect(brokenPromises(evidence(), xen)).toEqual([])
    expect(brokenPromises(evidence({ cpuCopiedBytes: 1000 }), { dma: 'swiotlb', iommu: 'vtd' })).toEqual([])
    expect(brokenPromises(evidence(), { dma: 'nommu', iommu: 'vtd' })).toEqual([])
    const open = attack({ blocked: false, bytesChanged: 64, faultSeen: false })
    expect(brokenPromises(evidence({ translatedBytes: 0, attacks: [open] }), none)).toEqual([])
  })

  test.each<[string, Partial<Evidence>, string]>([
    [
      'the hashes agree',
      { sha256: 'bb' },
      'what arrived in the guest is not what is in the file: its SHA-256 is bb, the file’s aa',
    ],
    ['mappings made = ended', { mappings: { made: 3, ended: 2 } }, '3 mappings were made and 2 ended'],
    ['references return to zero', { references: 4 }, '4 references on frames are left'],
    ['translated = bytes', { translatedBytes: 999 }, 'the IOMMU translated 999 bytes of payload, not 1000'],
    ['no CPU copies with xen', { cpuCopiedBytes: 1 }, 'a CPU copied 1 bytes of payload, not 0'],
    ['bytes come in requests', { requests: 0 }, '1000 bytes came in 0 requests'],
    [
      'attacks are blocked',
      { attacks: [attack({ blocked: false })] },
      'the attack on dom0 kernel page was not blocked',
    ],
    [
      'attacks change nothing',
      { attacks: [attack({ bytesChanged: 9 })] },
      'the attack on dom0 kernel page changed 9 bytes',
    ],
    [
      'faults arrive',
      { attacks: [attack({ faultSeen: false })] },
      'no fault of the attack on dom0 kernel page arrived in the guest’s fault ring',
    ],
    [
      'attacks are real',
      { attacks: [attack({ reachedHardware: false })] },
      'the attack on dom0 kernel page never reached the hardware',
    ],
    [
      'attacks are attempted',
      { attacks: [attack({ attempted: false })] },
      'the attack on dom0 kernel page never reached the hardware',
    ],
    [
      'controls succeed',
      { attacks: [attack({ control: false })] },
      'the device could not do what it may do, so the attack on dom0 kernel page proves nothing',
    ],
    [
      'targets are put back',
      { attacks: [attack({ restored: false })] },
      'the bytes of dom0 kernel page were not put back',
    ],
  ])('%s, or one sentence says so', (_, facts, sentence) => {
    expect(brokenPromises(evidence(facts), xen)).toEqual([sentence])
  })

  test('swiotlb copies every byte once', () => {
    expect(brokenPromises(evidence({ cpuCopiedBytes: 0 }), { dma: 'swiotlb', iommu: 'vtd' })).toEqual([
      'a CPU copied 0 bytes of payload, not 1000',
    ])
  })

  test('without an IOMMU nothing is translated and attacks succeed', () => {
    const broken = brokenPromises(evidence(), none)
    expect(broken).toEqual([
      'the IOMMU translated 1000 bytes of payload, not 0',
      'the attack on dom0 kernel page failed, though nothing stands in its way',
      'the attack on dom0 kernel page changed nothing',
    ])
  })

  const forged = (facts: Partial<AttackRow> = {}) => attack({ name: FORGED_INTERRUPT, ...facts })
  const through = { blocked: false, faultSeen: false }

  test.each(IOMMU_CHOICES)('--iommu %s blocks a forged interrupt exactly where it remaps interrupts', (iommu) => {
    const { interrupts, isolates } = PROTECTION[iommu]
    const others = isolates === 'nothing' ? attack({ ...through, bytesChanged: 64 }) : attack()
    const judged = (row: AttackRow) =>
      brokenPromises(evidence({ attacks: [others, row], translatedBytes: iommu === 'none' ? 0 : 1000 }), {
        dma: 'xen',
        iommu,
      })
    expect(judged(forged(interrupts ? {} : through))).toEqual([])
    expect(judged(forged(interrupts ? through : {}))).toContain(
      interrupts
        ? 'the attack on forged interrupt was not blocked'
        : 'the attack on forged interrupt failed, though nothing stands in its way',
    )
  })

  test('a GART translates what is in its aperture and nothing else; a Calgary tells no address', () => {
    const open = attack({ ...through, bytesChanged: 64 })
    const gart = (dma: DmaChoice, translatedBytes: number) =>
      brokenPromises(evidence({ attacks: [open], translatedBytes }), { dma, iommu: 'gart' })
    expect(gart('xen', 1000)).toEqual([])
    expect(gart('nommu', 0)).toEqual([])
    expect(gart('nommu', 1000)).toEqual(['the IOMMU translated 1000 bytes of payload, not 0'])
    expect(
      brokenPromises(evidence({ attacks: [attack({ faultSeen: false })] }), { dma: 'xen', iommu: 'calgary' }),
    ).toEqual([])
  })

  test('a skipped attack is not judged', () => {
    const row = attack({ blocked: false, control: false, skipped: 'there is no IOMMU' })
    expect(brokenPromises(evidence({ attacks: [row] }), xen)).toEqual([])
  })
})
