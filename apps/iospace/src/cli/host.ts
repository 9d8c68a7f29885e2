/** What the command line sees of its host; tests hand in another one. */
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import process from 'node:process'

export interface Terminal {
  write(text: string): void
  /** Waits until what was written is on its way: for those who write a lot. False when nobody reads it any more. */
  drained(): Promise<boolean>
  /** Somebody looks at it: progress is shown, and colours unless they are unwanted. */
  readonly isTerminal: boolean
  readonly colours: boolean
  readonly columns: number
}

export interface Host {
  /** What relative paths are relative to: the user's own folder, also when a package manager started us from elsewhere. */
  readonly folder: string
  readonly out: Terminal
  readonly err: Terminal
  /** Milliseconds of an arbitrary clock. */
  now(): number
  readonly version: string
  /** What the user types to run this command: a report ends with how to run it again. */
  readonly command: string
}

function terminal(stream: NodeJS.WriteStream): Terminal {
  // A reader that goes away early (`| head`) is no failure of ours.
  stream.on('error', () => undefined)
  const isTerminal = stream.isTTY === true
  const unwanted = (process.env['NO_COLOR'] ?? '') !== '' || process.env['TERM'] === 'dumb'
  return {
    write: (text) => void stream.write(text),
    drained: () =>
      new Promise((resolve) => {
        stream.write('', (error) => resolve(error === null || error === undefined))
      }),
    isTerminal,
    colours: isTerminal && !unwanted,
    // A terminal that does not know its size says 0.
    get columns() {
      return stream.columns || 80
    },
  }
}

/** The process that we run in. */
export function processHost(): Host {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return {
    folder: folderOf(process.env, process.cwd()),
    out: terminal(process.stdout),
    err: terminal(process.stderr),
    now: () => performance.now(),
    version,
    command: commandOf(process.env['npm_lifecycle_event'], process.env['npm_config_user_agent']),
  }
}

/** Name of the workspace, whose scripts run this command for a user who is in another folder. */
const WORKSPACE = 'iospace-monorepo'

/**
 * The user's own folder. A package manager runs a script in the folder of its package and leaves the user's in INIT_CWD, for everything that
 * the script starts: so it counts only where the script is the workspace's and nothing has gone to another folder since.
 */
function folderOf(env: NodeJS.ProcessEnv, cwd: string): string {
  const { INIT_CWD: initial, npm_package_name: name, npm_package_json: manifest } = env
  const started = name === WORKSPACE && manifest !== undefined && dirname(manifest) === cwd
  return started && initial !== undefined && initial !== '' ? initial : cwd
}

/** Under a script of the repository the command is not on the path: then it is the script that can be run again. */
function commandOf(script: string | undefined, agent = ''): string {
  const pnpm = /^pnpm\/(\S+)/.exec(agent)?.[1]
  return script === undefined || pnpm === undefined ? 'iospace' : `npx --yes pnpm@${pnpm} iospace`
}
