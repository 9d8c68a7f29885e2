/** A storage report for people. */
import { style } from '../report/style.ts'
import { table } from '../report/table.ts'
import { bytes, count, duration, rate } from '../report/units.ts'
import type { AttackRow, StorageReport } from './report.ts'

export interface Heading {
  /** What was read, and what was written. */
  readonly image: string
  readonly out: string | null
  /** The command line that does it again. */
  readonly replay: string
}

export function storageText(report: StorageReport, { image, out, replay }: Heading, colours: boolean): string {
  const { bold, good, bad, faint } = style(colours)
  const { mappings, iotlb, protection } = report
  const calls = Object.entries(report.hypercalls).sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
  const lines = [
    bold(`iospace run storage: --dma ${report.dma} --iommu ${report.iommu}`) +
      (report.personality === null ? '' : faint(` (${report.personality})`)),
    ...table([['image', image], ...(out === null ? [] : [['out', out]])]),
    '',
    bold('What arrived'),
    ...table([
      ['SHA-256 in the guest', report.sha256 ?? '–'],
      ['SHA-256 of the file', report.expectedSha256 ?? '–'],
      ['payload', `${count(report.bytes)} bytes (${bytes(report.bytes)}) in ${count(report.requests)} blkif requests`],
    ]),
    '',
    bold('How it travelled'),
    ...table([
      ['translated by the IOMMU', `${count(report.translatedBytes)} bytes`],
      ['copied by a CPU', `${count(report.cpuCopiedBytes)} bytes`],
      ['mappings in I/O spaces', `${count(mappings.made)} made, ${count(mappings.ended)} ended`],
      ['references left', count(report.references)],
      ['IOTLB', `${count(iotlb.hits)} hits, ${count(iotlb.misses)} misses`],
      ['faults', count(report.faults)],
      ['hypercalls', count(calls.reduce((sum, [, times]) => sum + times, 0))],
    ]),
    ...table(
      calls.map(([name, times]) => [name, count(times).padStart(11)]),
      4,
    ),
    '',
    bold(`What --iommu ${report.iommu} protects`),
    ...table([
      ['devices kept apart', protection.isolates],
      ['memory of others', protection.isolates === 'nothing' ? 'UNPROTECTED' : 'protected'],
      ['interrupts of others', protection.interrupts ? 'protected' : 'UNPROTECTED'],
      ['faults', protection.faultAddresses ? 'recorded with their address' : 'no record of the address'],
      ['', protection.note],
    ]),
    '',
    bold('Attacks by the guest’s own device'),
    ...attackTable(report.attacks),
    '',
    bold('Time'),
    ...table([
      ['virtual', `${duration(report.virtualNs)} (model)`],
      ['host', `${duration(report.hostMs * 1e6)}, ${rate(report.bytes, report.hostMs)}`],
    ]),
    '',
    ...(report.ok
      ? [good('PASSED: the hashes agree, the books balance, the attacks went as promised.')]
      : [bad('FAILED:')]),
    ...report.problems.map((problem) => bad(`  ${problem}`)),
    faint(`seed ${report.seed}; again: ${replay}`),
    '',
  ]
  return lines.join('\n')
}

function attackTable(attacks: readonly AttackRow[]): string[] {
  if (attacks.length === 0) return ['  none']
  const rows = attacks.map((attack) => {
    if (attack.skipped !== undefined) return [attack.name, 'skipped', attack.skipped]
    return [
      attack.name,
      attack.attempted ? 'attempted' : 'not attempted',
      attack.reachedHardware ? 'reached hardware' : 'never on the bus',
      attack.blocked ? 'BLOCKED' : 'NOT BLOCKED',
      `${count(attack.bytesChanged)} bytes changed`,
    ]
  })
  return table(rows)
}
