import type { OptionSpec } from './options.ts'
import type { Verb } from './verb.ts'

const EVERYWHERE: Readonly<Record<string, OptionSpec>> = { help: { help: 'this text' } }

/** The help of the whole command: what it is, and its verbs. */
export function generalHelp(verbs: readonly Verb[], version: string): string {
  return [
    `iospace ${version}: an executable paravirtual IOMMU, from the hypercall to the table walk`,
    '',
    'Usage: iospace VERB [OPTIONS]',
    '',
    ...columns(verbs.map(({ name, summary }) => [name, summary])),
    '',
    'iospace VERB --help tells a verb’s options; iospace --version the version.',
    'Exit status: 0 all went as it should, 1 the run failed, 2 the command line or a file makes no sense.',
    '',
  ].join('\n')
}

/** The help of one verb. */
export function verbHelp({ name, summary, operands, options, notes }: Verb): string {
  const rows = Object.entries({ ...options, ...EVERYWHERE }).map(([option, { value, help }]): [string, string] => [
    `--${option}${value === undefined ? '' : ` ${value}`}`,
    help,
  ])
  return [
    `iospace ${name}: ${summary}`,
    '',
    `Usage: iospace ${name}${operands === undefined ? '' : ` ${operands}`} [OPTIONS]`,
    '',
    ...columns(rows),
    ...(notes === undefined ? [] : ['', notes]),
    '',
  ].join('\n')
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right.replaceAll('\n', `\n${' '.repeat(width + 4)}`)}`)
}
