import { XENSTORE } from '@iospace/abi'

/** A canonical path: absolute, no trailing slash (but for the root itself), or a special watch name such as `@releaseDomain`. */
export type StorePath = string

const CHARACTERS = /^[A-Za-z0-9\-/_@]+$/

/** The folder of a domain, to which its relative paths belong. */
export const domainPath = (domid: number): StorePath => `/local/domain/${domid}`

/**
 * The absolute form of a path as a caller wrote it, or null for one that is not well-formed (xenstore.txt: characters, no empty part,
 * 3072 bytes at most for absolute and 2048 for relative paths). `special` admits `@` names, which only watches and permissions have.
 */
export function absolutePath(path: string, domid: number, special = false): StorePath | null {
  if (path === '' || !CHARACTERS.test(path)) return null
  if (path.startsWith('@')) return special && !path.includes('/') ? path : null
  if (path === '/') return path
  if (path.endsWith('/') || path.includes('//')) return null
  if (path.startsWith('/')) return path.length <= XENSTORE.ABS_PATH_MAX ? path : null
  return path.length <= XENSTORE.REL_PATH_MAX ? `${domainPath(domid)}/${path}` : null
}

/** The names from the root to a node. */
export const namesOf = (path: StorePath): string[] => (path === '/' ? [] : path.slice(1).split('/'))

/** The path of the node above; the root's is the root. */
export function parentOf(path: StorePath): StorePath {
  const at = path.lastIndexOf('/')
  return at <= 0 ? '/' : path.slice(0, at)
}

/** Whether `path` is `ancestor` or below it. */
export const isWithin = (path: StorePath, ancestor: StorePath): boolean =>
  path === ancestor || (ancestor === '/' ? path.startsWith('/') : path.startsWith(`${ancestor}/`))
