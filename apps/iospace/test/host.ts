import type { Host } from '../src/cli/host.ts'

/** A host that keeps what was written. */
export function fakeHost(
  options: { readonly folder?: string; readonly terminal?: boolean; readonly columns?: number } = {},
) {
  const written = { out: '', err: '' }
  let time = 0
  const terminal = (key: 'out' | 'err') => ({
    write: (text: string) => void (written[key] += text),
    drained: async () => true,
    isTerminal: options.terminal ?? false,
    colours: false,
    columns: options.columns ?? 80,
  })
  const host: Host = {
    folder: options.folder ?? '/',
    out: terminal('out'),
    err: terminal('err'),
    now: () => (time += 1000),
    version: '1.2.3',
    command: 'iospace',
  }
  return { host, written }
}
