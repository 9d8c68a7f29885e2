/** The README's driver is run as it stands there: extracted, imported, and bound in a guest, over every backend. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { dom0 } from '@iospace/dom0'
import { planOf, type SystemDescription } from '@iospace/lab'
import { systemTest } from '@iospace/lab/testing'
import type { PciDriver } from '@iospace/linux'
import { expect } from 'vitest'

const README = join(import.meta.dirname, '../../../README.md')

function readmeDriver(): string {
  const code = /```ts\n([\s\S]*?)```/.exec(readFileSync(README, 'utf8'))?.[1]
  if (code === undefined) throw new Error('README.md has no TypeScript example')
  return code
}

function description(iommu: 'vtd' | 'none', commandLine: string): SystemDescription {
  return {
    seed: 1,
    memory: { lowMiB: 48, highMiB: 48 },
    iommu,
    devices: [{ kind: 'rogue', name: 'toy' }],
    dom0: { program: 'dom0', memoryMiB: 16 },
    domains: [
      {
        name: 'guest',
        program: 'guest',
        memoryMiB: 16,
        commandLine,
        devices: ['toy'],
        limits: { unsafeInterrupts: true, unsafePassthrough: iommu === 'none' },
      },
    ],
  }
}

const WAYS = [
  ['xen', 'vtd', 'iommu=xen'],
  ['swiotlb', 'vtd', 'swiotlb=2048,force'],
  ['nommu', 'vtd', 'iommu=off'],
  ['swiotlb', 'none', 'swiotlb=2048,force'],
  ['nommu', 'none', 'iommu=off'],
] as const

systemTest.for(WAYS)(
  'README: its driver runs unchanged over %s on a machine with %s',
  async ([backend, iommu, words], { run }) => {
    // Beside this file, so that its imports are found as a user's would be.
    const folder = mkdtempSync(join(import.meta.dirname, 'readme-'))
    try {
      const file = join(folder, 'hello.ts')
      writeFileSync(file, readmeDriver())
      const { hello } = (await import(pathToFileURL(file).href)) as { hello: PciDriver }
      const lines: string[] = []
      const system = description(iommu, words)
      const { outcome } = await run(system, {
        programs: {
          dom0: dom0({ plan: planOf(system) }),
          guest: async (kernel) => void (await kernel.pci.register(hello)),
        },
        onConsole: (_domain, text) => lines.push(text.trim()),
      })
      expect(outcome).toMatchObject({ finished: true, crashes: [] })
      expect(lines).toContain(`${backend}: the device holds h…`)
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
