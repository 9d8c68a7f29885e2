import { main, VERBS, type Host, type StorageReport } from 'iospace'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface CliResult {
  readonly status: number
  readonly out: string
  readonly err: string
}

/** Runs the command line in this process, as from `folder`, with nobody looking at a terminal. */
export async function cli(folder: string, ...argv: string[]): Promise<CliResult> {
  const written = { out: '', err: '' }
  const terminal = (key: 'out' | 'err') => ({
    write: (text: string) => void (written[key] += text),
    drained: async () => true,
    isTerminal: false,
    colours: false,
    columns: 80,
  })
  const host: Host = {
    folder,
    out: terminal('out'),
    err: terminal('err'),
    now: () => performance.now(),
    version: '0.0.0',
    command: 'iospace',
  }
  const status = await main(host, VERBS, argv)
  return { status, ...written }
}

/** `run storage --json`, and its object. */
export async function storage(
  folder: string,
  ...argv: string[]
): Promise<CliResult & { readonly report: StorageReport }> {
  const result = await cli(folder, 'run', 'storage', '--json', ...argv)
  return { ...result, report: JSON.parse(result.out) as StorageReport }
}

/** A folder for the files of one test. */
export class TestFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'iospace-test-'))

  /** Bytes that differ everywhere, so that a mix-up of pieces shows. */
  image(name: string, bytes: number): string {
    const content = new Uint8Array(bytes)
    let state = bytes + 1
    for (let i = 0; i < bytes; i++) content[i] = (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24
    return this.file(name, content)
  }

  file(name: string, content: Uint8Array | string): string {
    writeFileSync(join(this.path, name), content)
    return this.at(name)
  }

  at(name: string): string {
    return join(this.path, name)
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
