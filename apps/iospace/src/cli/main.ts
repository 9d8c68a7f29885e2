/** From words to an exit status. */
import { IospaceError } from '@iospace/wire'
import { generalHelp, verbHelp } from './help.ts'
import type { Host } from './host.ts'
import { FileError, HostError, UsageError } from './errors.ts'
import type { Verb } from './verb.ts'

/**
 * Finds the verb in `argv` and does it. Returns the exit status: 0, 1 for a failed run, 2 for a command line or a file that makes no sense.
 * A mistake is one sentence on the error stream, never a stack; only a bug of ours shows one.
 */
export async function main(host: Host, verbs: readonly Verb[], argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(host, verbs, argv)
  } catch (error) {
    if (error instanceof UsageError) {
      host.err.write(`iospace: ${error.message} (see iospace --help)\n`)
      return 2
    }
    if (error instanceof FileError) {
      host.err.write(`iospace: ${error.message}\n`)
      return 2
    }
    const bug = error instanceof Error && !(error instanceof IospaceError) && !(error instanceof HostError)
    const text = bug ? (error.stack ?? error.message) : error instanceof HostError ? error.message : String(error)
    host.err.write(`iospace: ${text}\n`)
    return 1
  }
}

async function dispatch(host: Host, verbs: readonly Verb[], argv: readonly string[]): Promise<number> {
  const [first, second] = argv
  if (first === undefined) throw new UsageError('a verb is missing')
  if (first === '--version' || first === '-V') {
    host.out.write(`${host.version}\n`)
    return 0
  }
  if (first === '--help' || first === '-h' || first === 'help') {
    host.out.write(generalHelp(verbs, host.version))
    return 0
  }
  if (first.startsWith('-')) throw new UsageError(`a verb comes before ${first}`)
  const two = `${first} ${second ?? ''}`
  const verb = verbs.find(({ name }) => name === two) ?? verbs.find(({ name }) => name === first)
  if (verb === undefined) {
    const group = verbs.filter(({ name }) => name.startsWith(`${first} `)).map(({ name }) => name.split(' ')[1])
    if (group.length > 0 && (second === '--help' || second === '-h')) {
      host.out.write(generalHelp(verbs, host.version))
      return 0
    }
    if (group.length === 0) throw new UsageError(`there is no verb “${first}”`)
    const asked = second === undefined || second.startsWith('-') ? 'nothing' : `“${second}”`
    throw new UsageError(`${first} takes ${group.join(' or ')}, not ${asked}`)
  }
  const rest = argv.slice(verb.name.split(' ').length)
  if (rest.includes('--help') || rest.includes('-h')) {
    host.out.write(verbHelp(verb))
    return 0
  }
  return await verb.run(host, rest)
}
