import { styleText } from 'node:util'

export interface Style {
  bold(text: string): string
  good(text: string): string
  bad(text: string): string
  faint(text: string): string
}

/** Colours, or none. */
export function style(colours: boolean): Style {
  const paint =
    (format: Parameters<typeof styleText>[0]) =>
    (text: string): string =>
      colours ? styleText(format, text, { validateStream: false }) : text
  return { bold: paint('bold'), good: paint('green'), bad: paint('red'), faint: paint('dim') }
}
