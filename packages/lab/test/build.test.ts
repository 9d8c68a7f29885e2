import { describe } from 'vitest'
import type { SystemDescription } from '../src/describe.ts'
import { systemTest } from '../src/testing.ts'

const small: SystemDescription = {
  seed: 1,
  memory: { lowMiB: 16, highMiB: 16 },
  iommu: 'vtd',
  devices: [{ kind: 'rogue', name: 'rogue' }],
  dom0: { program: 'dom0', memoryMiB: 8, commandLine: 'quiet' },
  domains: [],
}

describe('a system', () => {
  systemTest('runs dom0’s program and has RAM below and above 4 GiB', async ({ run, expect }) => {
    const seen: string[] = []
    const { system, outcome } = await run(small, {
      programs: {
        dom0: async (kernel) => {
          const frames = Array.from({ length: kernel.nrPages }, (_, pfn) => kernel.platform.memory.machineFrame(pfn))
          seen.push(
            kernel.name,
            kernel.commandLine.text,
            String(frames.some((mfn) => mfn > 0 && mfn < 4096)),
            String(frames.some((mfn) => mfn >= 0x100000)),
          )
          await kernel.sleep(1e6)
        },
      },
    })
    expect(outcome).toHaveFinished()
    expect(system).toHaveBalancedBooks()
    expect(outcome.virtualNs).toBeGreaterThan(1e6)
    expect(seen).toEqual(['dom0', 'init=dom0 quiet', 'true', 'true'])
  })

  systemTest('that names a program or file that was not handed in says so', async ({ run, expect }) => {
    const { outcome } = await run(small, {})
    expect(outcome.crashes.map(({ error }) => String(error))).toEqual([
      expect.stringContaining('is not a program that was handed in'),
    ])
    const devices = [{ kind: 'nvme', name: 'disk', store: 'file' }] as const
    await expect(run({ ...small, devices }, {})).rejects.toThrow('is not among the files that were handed in')
  })

  systemTest('whose only program waits for ever does not finish, and says for what', async ({ run, expect }) => {
    const { outcome } = await run(small, { programs: { dom0: (kernel) => kernel.queue('Godot').wait() } })
    expect(outcome.finished).toBe(false)
    expect(outcome.waiting).toEqual(['dom0/init waits for Godot'])
  })

  systemTest('passes the kernels’ consoles on', async ({ run, expect }) => {
    const lines: string[] = []
    await run(small, {
      programs: { dom0: async (kernel) => kernel.log('hello') },
      onConsole: (domain, text) => void lines.push(`${domain}: ${text}`),
    })
    expect(lines).toEqual(['dom0: hello\n'])
  })

  systemTest('shows the host memory as it is, and where things lie', async ({ run, expect }) => {
    const { system } = await run(small, { programs: { dom0: async () => undefined } })
    const { oracle } = system
    const address = 0x10_0000
    oracle.restore(address, Uint8Array.of(1, 2, 3))
    expect([...oracle.snapshot(address, 4)]).toEqual([1, 2, 3, 0])
    expect(() => oracle.snapshot(0xf000_0000, 4)).toThrow('leave a range')
    expect(() => oracle.snapshot(4094, 4)).toThrow('leave a range')
  })

  systemTest('results are compared by name', async ({ expect }) => {
    expect(-22).toBeErrno('EINVAL')
    expect(0).not.toBeErrno('EINVAL')
    expect(() => expect(-12).toBeErrno('EINVAL')).toThrow('expected EINVAL, got ENOMEM')
  })
})
