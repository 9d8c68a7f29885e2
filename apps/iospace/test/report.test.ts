import { describe, expect, test } from 'vitest'
import { Progress } from '../src/report/progress.ts'
import { bytes, count, duration, rate } from '../src/report/units.ts'
import { storageText } from '../src/storage/report-text.ts'
import { PROTECTION } from '../src/storage/protection.ts'
import type { StorageReport } from '../src/storage/report.ts'
import { fakeHost } from './host.ts'

const row = {
  attempted: true,
  reachedHardware: true,
  blocked: true,
  bytesChanged: 0,
  control: true,
  faultSeen: true,
  restored: true,
}

const report: StorageReport = {
  ok: true,
  problems: [],
  dma: 'xen',
  iommu: 'vtd',
  personality: 'sandybridge-ep',
  protection: PROTECTION.vtd,
  seed: 42,
  sha256: 'a'.repeat(64),
  expectedSha256: 'a'.repeat(64),
  bytes: 33_554_432,
  requests: 745,
  hypercalls: { 'iommu_op.map_grant': 745, 'event_channel_op.send': 900 },
  mappings: { made: 8195, ended: 8195 },
  translatedBytes: 33_554_432,
  cpuCopiedBytes: 0,
  iotlb: { hits: 1234, misses: 567 },
  faults: 8,
  references: 0,
  attacks: [
    { name: 'dom0 kernel page', ...row },
    { name: 'IOMMU root table', ...row, skipped: 'there is no IOMMU' },
    { name: 'forged interrupt', ...row, blocked: false },
  ],
  virtualNs: 1.5e9,
  hostMs: 500,
}
const heading = { image: '/tmp/a.img', out: null, replay: 'iospace run storage --seed 42' }

describe('the report for people', () => {
  test('has every figure, without colours or trailing blanks', () => {
    const text = storageText(report, heading, false)
    expect(text).toMatchInlineSnapshot(`
      "iospace run storage: --dma xen --iommu vtd (sandybridge-ep)
        image  /tmp/a.img

      What arrived
        SHA-256 in the guest  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        SHA-256 of the file   aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        payload               33,554,432 bytes (32.0 MiB) in 745 blkif requests

      How it travelled
        translated by the IOMMU  33,554,432 bytes
        copied by a CPU          0 bytes
        mappings in I/O spaces   8,195 made, 8,195 ended
        references left          0
        IOTLB                    1,234 hits, 567 misses
        faults                   8
        hypercalls               1,645
          event_channel_op.send          900
          iommu_op.map_grant             745

      What --iommu vtd protects
        devices kept apart    each function
        memory of others      protected
        interrupts of others  protected
        faults                recorded with their address
                              read and write rights a page, interrupts by source id

      Attacks by the guest’s own device
        dom0 kernel page  attempted  reached hardware   BLOCKED      0 bytes changed
        IOMMU root table  skipped    there is no IOMMU
        forged interrupt  attempted  reached hardware   NOT BLOCKED  0 bytes changed

      Time
        virtual  1.50 s (model)
        host     500.0 ms, 67.1 MB/s

      PASSED: the hashes agree, the books balance, the attacks went as promised.
      seed 42; again: iospace run storage --seed 42
      "
    `)
    expect(text).not.toMatch(/[ \t]$/m)
  })

  test('a failed run says FAILED and each problem', () => {
    const text = storageText({ ...report, ok: false, problems: ['one thing', 'another'], sha256: null }, heading, false)
    expect(text).toContain('FAILED:\n  one thing\n  another\n')
    expect(text).not.toContain('PASSED')
  })

  test('is coloured only when wanted', () => {
    expect(storageText(report, heading, true)).toContain('\u001B[')
    expect(storageText(report, heading, false)).not.toContain('\u001B')
  })
})

describe('numbers for people', () => {
  test('have thousands separators and binary units', () => {
    expect([count(1234567), bytes(0), bytes(1), bytes(1023), bytes(45056), bytes(64 * 2 ** 30)]).toEqual([
      '1,234,567',
      '0 bytes',
      '1 byte',
      '1,023 bytes',
      '44.0 KiB',
      '64.0 GiB',
    ])
    expect([duration(12), duration(1500), duration(2.5e6), duration(3e9)]).toEqual([
      '12 ns',
      '1.5 µs',
      '2.5 ms',
      '3.00 s',
    ])
    expect([rate(5e6, 10), rate(1, 0)]).toEqual(['500.0 MB/s', '–'])
  })
})

describe('the progress bar', () => {
  test('stays on one line of a terminal and is cleared at the end', () => {
    const { host, written } = fakeHost({ terminal: true, columns: 60 })
    {
      using bar = new Progress(host.err, host.now, true)
      bar.update('read', 50, 100)
    }
    expect(written.err).toContain('\r\u001B[K[')
    expect(written.err).toContain(' 50 %  read 50 bytes of 100 bytes')
    expect(written.err.endsWith('\r\u001B[K')).toBe(true)
    expect(written.err).not.toContain('\n')
    expect(written.out).toBe('')
  })

  test('is not there when nobody looks, or it is not wanted', () => {
    for (const [terminal, wanted] of [
      [false, true],
      [true, false],
    ] as const) {
      const { host, written } = fakeHost({ terminal })
      {
        using bar = new Progress(host.err, host.now, wanted)
        bar.update('read', 1, 2)
      }
      expect(written.err).toBe('')
    }
  })

  test('does not draw more than ten times a second', () => {
    const { host, written } = fakeHost({ terminal: true })
    let time = 0
    using bar = new Progress(host.err, () => (time += 1), true)
    for (let i = 0; i < 1000; i++) bar.update('read', i, 1000)
    expect(written.err.split('\r').length).toBeLessThan(13)
  })
})
