/** Where in a JSON text something stands: `$.requests[2].length`. */
export function pathOf(keys: readonly (string | number)[]): string {
  return keys.reduce<string>((path, key) => path + stepOf(key), '$')
}

/** One step of a path. Keys that are no plain word are quoted. */
export function stepOf(key: string | number): string {
  if (typeof key === 'number') return `[${key}]`
  return /^[A-Za-z_]\w{0,63}$/.test(key) ? `.${key}` : `[${shown(key)}]`
}

/** A text of the user's in a message: quoted, short, and without characters that a terminal acts upon. */
export function shown(text: string): string {
  const short = text.length > 40 ? `${text.slice(0, 40)}…` : text
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
