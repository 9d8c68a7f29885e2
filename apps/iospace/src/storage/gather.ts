/** From what a run left behind to its report. */
import type { FileHash } from '../files/hash-file.ts'
import type { ImageFile } from '../files/image-file.ts'
import type { OutputFile } from '../files/output-file.ts'
import { WaitsForEver, type Crash } from '@iospace/lab'
import { brokenPromises, type Evidence } from './check.ts'
import type { StorageOptions } from './options.ts'
import { PROTECTION } from './protection.ts'
import type { StorageReport } from './report.ts'
import type { StorageRunResult } from './run.ts'

export interface Gathered {
  readonly options: StorageOptions
  readonly result: StorageRunResult
  /** Of the file; null where there is nothing to compare it with. */
  readonly hash: FileHash | null
  readonly image: ImageFile
  readonly out: OutputFile | null
  readonly traceProblem: string | null
  readonly hostMs: number
}

const SECTOR = 512

/** The report, its verdict included. Gives the output file its name if everything went well. */
export function reportOf(gathered: Gathered): StorageReport {
  const { options, result, hash, image, out, hostMs } = gathered
  const { guest, system, outcome } = result
  const { dma, iommu, personality, seed } = options
  const books = system.books()
  const bytes = guest?.bytes ?? 0
  const padding = paddingOf(image.bytes, bytes)
  const bounced = result.driverDomain?.bouncedBytes ?? 0
  const evidence: Evidence = {
    dma,
    iommu,
    personality,
    protection: PROTECTION[iommu],
    seed,
    sha256: guest?.sha256 ?? null,
    expectedSha256: hash !== null && 'digest' in hash ? hash.digest : null,
    bytes,
    requests: guest?.requests ?? 0,
    hypercalls: books.hypercalls,
    mappings: { made: books.mappings.made, ended: books.mappings.ended },
    translatedBytes: Math.max(0, books.payload.translated - (books.payload.translated > 0 ? padding : 0)),
    cpuCopiedBytes: Math.max(0, bounced - (bounced > 0 ? padding : 0)),
    iotlb: books.iotlb,
    faults: books.faults,
    references: books.references,
    attacks: guest?.attacks ?? [],
    virtualNs: Math.round(outcome.virtualNs),
    hostMs: Math.round(hostMs * 1000) / 1000,
  }
  const problems = [...troubles(gathered)]
  // What a run owes is owed by one that went to its end.
  if (problems.length === 0) problems.push(...brokenPromises(evidence, { dma, iommu }))
  else if (books.references !== 0) problems.push(`${books.references} references on frames are left`)
  if (out !== null && problems.length === 0 && !out.finish()) problems.push(out.problem!)
  if (out !== null && problems.length > 0) problems.push(`${out.partialPath} is not whole`)
  return { ok: problems.length === 0, problems, ...evidence }
}

/** What went wrong outside the books: files first, because what they did explains the rest. */
function* troubles({ result, hash, image, out, traceProblem }: Gathered): Generator<string> {
  const { guest, outcome } = result
  const files = [image.problem, out?.problem ?? null].filter((problem) => problem !== null)
  yield* files
  if (hash !== null && 'problem' in hash && !files.includes(hash.problem)) yield hash.problem
  const differs =
    hash !== null && 'digest' in hash && guest !== null && guest.problem === null && guest.sha256 !== hash.digest
  if (differs && image.changed)
    yield `${image.path} was changed while it was read: what arrived in the guest is not what was hashed`
  for (const crash of outcome.crashes) yield crashSentence(crash)
  if (!outcome.finished) yield `the run could not go on: ${outcome.waiting.join('; ')}`
  const problem = guest?.problem ?? null
  if (problem !== null && files.length === 0) yield problem
  if (guest === null && outcome.finished && outcome.crashes.length === 0) yield 'the guest ended without a result'
  if (traceProblem !== null) yield traceProblem
}

function crashSentence({ domain, error }: Crash): string {
  if (error instanceof WaitsForEver) return `${domain} was ended because it ${error.message}`
  return `${domain} crashed: ${error instanceof Error ? error.message : String(error)}`
}

/** Bytes that travelled with the payload and are none: the end of the last sector, each way. */
function paddingOf(imageBytes: number, bytes: number): number {
  const once = (SECTOR - (imageBytes % SECTOR)) % SECTOR
  return imageBytes === 0 ? 0 : once * Math.floor(bytes / imageBytes)
}
