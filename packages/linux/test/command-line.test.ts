import { describe, expect, test } from 'vitest'
import { CommandLine } from '../src/index.ts'

const iommu = (text: string): Partial<CommandLine['iommu']> => {
  const options: Record<string, unknown> = { ...new CommandLine(text).iommu }
  for (const key of Object.keys(options)) if (options[key] === false || options[key] === null) delete options[key]
  return options
}

describe('iommu= is a comma list of prefixes (Linux pci-dma.c, facts/linux-dma.md B1)', () => {
  test.each([
    ['', {}],
    ['iommu=soft', { merge: true, soft: true }],
    ['iommu=off', { merge: true, off: true }],
    ['iommu=offline', { merge: true, off: true }],
    ['iommu=force', { merge: true, force: true }],
    ['iommu=noforce', {}],
    ['iommu=force,noforce', {}],
    ['iommu=biomerge', { merge: true, force: true }],
    ['iommu=merge', { merge: true, force: true }],
    ['iommu=nomerge', {}],
    ['iommu=panic,nopanic', { merge: true }],
    ['iommu=forcesac', { merge: true, force: true, dac: 'forcesac' }],
    ['iommu=usedac,soft', { merge: true, dac: 'usedac' }],
    ['iommu=soft,usedac', { merge: true, soft: true, dac: 'usedac' }],
    ['iommu=nonsense', { merge: true }],
    ['iommu=', {}],
    ['iommu', {}],
    ['iommu=calgary,pt', { merge: true, calgary: true, passthrough: true }],
    ['iommu=pt,nopt', { merge: true }],
    ['iommu=xen', { merge: true, xen: true }],
    ['iommu=soft iommu=xen', { merge: true, soft: true, xen: true }],
  ])('%s', (text, expected) => {
    expect(iommu(text)).toEqual(expected)
  })
})

describe('swiotlb= is [slots][,areas][,force|noforce], slots in sets of 128 (Linux swiotlb.c, facts B1)', () => {
  test.each([
    ['swiotlb=force', { slots: null, force: 'force' }],
    ['swiotlb=1000', { slots: 1024, force: null }],
    ['swiotlb=128', { slots: 128, force: null }],
    ['swiotlb=1,force', { slots: 128, force: 'force' }],
    ['swiotlb=256,2,noforce', { slots: 256, force: 'noforce' }],
    ['swiotlb=,force', { slots: null, force: 'force' }],
    ['swiotlb=forced', { slots: null, force: null }],
    ['swiotlb=0', { slots: null, force: null }],
  ])('%s', (text, expected) => {
    expect(new CommandLine(text).swiotlb).toEqual(expected)
  })
})

test('words keep their order, quotes hold blanks together, unknown words stay', () => {
  const line = new CommandLine('init=reader  quiet title="two words" init=writer')
  expect(line.words.map(({ name }) => name)).toEqual(['init', 'quiet', 'title', 'init'])
  expect(line.init).toBe('writer')
  expect(line.get('title')).toBe('two words')
  expect(line.get('quiet')).toBeNull()
  expect(line.get('absent')).toBeUndefined()
})

describe('iommu.strict= is a truth value (Linux drivers/iommu/iommu.c, kstrtobool)', () => {
  test.each([
    ['', true],
    ['iommu.strict=1', true],
    ['iommu.strict=on', true],
    ['iommu.strict=0', false],
    ['iommu.strict=n', false],
    ['iommu.strict=No', false],
    ['iommu.strict=off', false],
    ['iommu.strict=maybe', true],
    ['iommu.strict', true],
    ['iommu.strict=0 iommu.strict=1', true],
    ['iommu=strict', true],
  ])('%s', (text, strict) => {
    expect(new CommandLine(text).iommuStrict).toBe(strict)
  })
})
