/** `iospace run storage`. */
import { statSync } from 'node:fs'
import type { Host } from '../cli/host.ts'
import { UsageError } from '../cli/errors.ts'
import type { Verb } from '../cli/verb.ts'
import { hashFile } from '../files/hash-file.ts'
import { ImageFile } from '../files/image-file.ts'
import { OutputFile } from '../files/output-file.ts'
import { reasonOf } from '../files/reason.ts'
import { sameFile } from '../files/same-file.ts'
import { bytes } from '../report/units.ts'
import { Progress } from '../report/progress.ts'
import { ChromeTrace } from '../trace/chrome-trace.ts'
import { TraceFile } from '../trace/trace-file.ts'
import { Watchdog } from '../watchdog/watchdog.ts'
import { replayOf, STORAGE, STORAGE_OPTIONS, storageOptions, type StorageOptions } from './options.ts'
import { reportOf } from './gather.ts'
import { storageText } from './report-text.ts'
import { runStorage } from './run.ts'

/** Seconds without a sign of life of the simulation after which the process ends. */
const WATCHDOG_SECONDS = 30

export const storageVerb: Verb = {
  name: STORAGE,
  summary: 'a file crosses an untrusted guest, a driver domain, the hypervisor and an IOMMU',
  options: STORAGE_OPTIONS,
  notes: [
    'The guest reads the whole disk through blkif, with grants that the controller DMAs into; its',
    'SHA-256 is compared with the file’s. Then its own rogue device attacks memory of others.',
    'Relative paths are relative to your own folder. FILE2 is FILE2.partial until it is whole.',
  ].join('\n'),
  run: async (host, argv) => {
    const options = storageOptions(host, argv)
    using image = options.image === null ? ImageFile.fromSeed(options.seed) : ImageFile.open('--image', options.image)
    using out = options.out === null ? null : OutputFile.create('--out', options.out, image.bytes, [image.path])
    using trace = openTrace(options.trace, image, out)
    return await measured(host, options, image, out, trace)
  },
}

async function measured(
  host: Host,
  options: StorageOptions,
  image: ImageFile,
  out: OutputFile | null,
  file: TraceFile | null,
): Promise<number> {
  const { dma, iommu, personality, seed } = options
  using expected = hashFile(image.path, image.bytes)
  const trace = file === null ? null : new ChromeTrace(file, { seed, dma, iommu, time: 'virtual, a model' })
  const start = host.now()
  const result = await (async () => {
    // No longer than the run: what comes after it has no turns to show.
    using watchdog = new Watchdog({ seconds: WATCHDOG_SECONDS })
    using progress = new Progress(host.err, host.now, !options.quiet)
    return await runStorage({
      system: { dma, iommu, personality, seed, bytes: image.bytes, writes: out !== null },
      image,
      out,
      onTurn: () => watchdog.beat(),
      onProgress: (done, total) => progress.update(out === null ? 'read' : 'copied', done, total),
      ...(trace === null ? {} : { trace }),
    })
  })()
  const hostMs = host.now() - start
  trace?.end()
  file?.close()
  // A guest that got nowhere is not compared with anything: no waiting for the end of a large file.
  const hash = result.guest?.problem === null ? await expected.result : null
  const report = reportOf({ options, result, hash, image, out, traceProblem: traceProblem(file), hostMs })
  if (options.json) host.out.write(`${JSON.stringify(report)}\n`)
  else host.out.write(storageText(report, headingOf(host, options, image), host.out.colours))
  // Who looks at the report on a terminal has read the problems in it.
  const seen = !options.json && host.out.isTerminal && host.err.isTerminal
  if (!seen) for (const problem of report.problems) host.err.write(`iospace: ${problem}\n`)
  return report.ok ? 0 : 1
}

function headingOf(host: Host, options: StorageOptions, image: ImageFile) {
  return {
    image: options.image === null ? `${bytes(image.bytes)} made from the seed` : image.path,
    out: options.out,
    replay: replayOf(host.command, options),
  }
}

function openTrace(path: string | null, image: ImageFile, out: OutputFile | null): TraceFile | null {
  if (path === null) return null
  try {
    const taken = out === null ? [image.path] : [image.path, out.path, out.partialPath]
    const other = taken.find((each) => sameFile(path, each))
    if (other !== undefined) throw new UsageError(`--trace ${path} would overwrite ${other}`)
    // Opening a pipe waits for its other end.
    if (statSync(path, { throwIfNoEntry: false })?.isFIFO())
      throw new UsageError(`--trace ${path} is a pipe, not a file`)
    return new TraceFile(path)
  } catch (error) {
    // Bad usage leaves nothing behind.
    out?.discard()
    throw error instanceof UsageError ? error : new UsageError(`--trace ${path} cannot be written: ${reasonOf(error)}`)
  }
}

function traceProblem(file: TraceFile | null): string | null {
  return file === null || file.problem === null ? null : `${file.path} is not whole: ${file.problem}`
}
