/** Whether a run kept what its configuration promises. Each broken promise is one sentence. */
import type { DmaChoice, IommuChoice } from './options.ts'
import { PROTECTION } from './protection.ts'
import type { AttackRow, StorageReport } from './report.ts'

export interface Promised {
  readonly dma: DmaChoice
  readonly iommu: IommuChoice
}

/** What counts as evidence: a report but for its verdict. */
export type Evidence = Omit<StorageReport, 'ok' | 'problems'>

/** An attack on an interrupt, not on memory. */
export const FORGED_INTERRUPT = 'forged interrupt'

/** The promises that `evidence` breaks, of a run that went to its end. */
export function brokenPromises(evidence: Evidence, promised: Promised): string[] {
  return [...hashes(evidence), ...books(evidence, promised), ...attacks(evidence.attacks, promised.iommu)]
}

function hashes({ sha256, expectedSha256 }: Evidence): string[] {
  if (sha256 === expectedSha256) return []
  return [
    `what arrived in the guest is not what is in the file: its SHA-256 is ${sha256}, the file’s ${expectedSha256}`,
  ]
}

function books(evidence: Evidence, { dma, iommu }: Promised): string[] {
  const { bytes, mappings, references, translatedBytes, cpuCopiedBytes, requests } = evidence
  const broken: string[] = []
  if (mappings.made !== mappings.ended) broken.push(`${mappings.made} mappings were made and ${mappings.ended} ended`)
  if (references !== 0) broken.push(`${references} references on frames are left`)
  const translated = translatedOf(bytes, dma, iommu)
  if (translatedBytes !== translated)
    broken.push(`the IOMMU translated ${translatedBytes} bytes of payload, not ${translated}`)
  const copied = dma === 'swiotlb' ? bytes : 0
  if (cpuCopiedBytes !== copied) broken.push(`a CPU copied ${cpuCopiedBytes} bytes of payload, not ${copied}`)
  if ((requests === 0) !== (bytes === 0)) broken.push(`${bytes} bytes came in ${requests} requests`)
  return broken
}

/** A GART translates what is in its aperture, the others whatever passes. */
function translatedOf(bytes: number, dma: DmaChoice, iommu: IommuChoice): number {
  if (!PROTECTION[iommu].translates) return 0
  return PROTECTION[iommu].isolates === 'nothing' && dma !== 'xen' && dma !== 'auto' ? 0 : bytes
}

function attacks(rows: readonly AttackRow[], iommu: IommuChoice): string[] {
  const broken: string[] = []
  const { isolates, interrupts, faultAddresses } = PROTECTION[iommu]
  for (const row of rows) {
    const { name } = row
    if (row.skipped !== undefined) continue
    if (!row.control) broken.push(`the device could not do what it may do, so the attack on ${name} proves nothing`)
    else if (!row.attempted || !row.reachedHardware) broken.push(`the attack on ${name} never reached the hardware`)
    else if (name === FORGED_INTERRUPT ? !interrupts : isolates === 'nothing') {
      if (row.blocked) broken.push(`the attack on ${name} failed, though nothing stands in its way`)
      if (name !== FORGED_INTERRUPT && row.bytesChanged === 0) broken.push(`the attack on ${name} changed nothing`)
    } else {
      if (!row.blocked) broken.push(`the attack on ${name} was not blocked`)
      if (row.bytesChanged !== 0) broken.push(`the attack on ${name} changed ${row.bytesChanged} bytes`)
      if (faultAddresses && !row.faultSeen)
        broken.push(`no fault of the attack on ${name} arrived in the guest’s fault ring`)
    }
    if (!row.restored) broken.push(`the bytes of ${name} were not put back`)
  }
  return broken
}
