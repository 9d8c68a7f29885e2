import { DOMID_CONTROL } from '@iospace/abi'

/** What a domain may do with a node: bit 1 read, bit 2 write. */
export const Right = { none: 0, read: 1, write: 2, both: 3 } as const

export interface Permission {
  readonly domid: number
  readonly rights: number
}

/** The first entry names the owner, who may do everything, and what the domains may that no later entry names. */
export type Permissions = readonly Permission[]

const LETTERS = 'nrwb'

/** `n0`, `r5`…; null for anything else. */
export function parsePermission(text: string): Permission | null {
  const rights = LETTERS.indexOf(text[0] ?? '?')
  const domid = /^[0-9]{1,5}$/.test(text.slice(1)) ? Number(text.slice(1)) : NaN
  return rights < 0 || !(domid < 0x7ff0) ? null : { domid, rights }
}

export const formatPermission = ({ domid, rights }: Permission): string => `${LETTERS[rights]}${domid}`

export const ownerOf = (permissions: Permissions): number => permissions[0]!.domid

/** Whether `domid` has `right`. The control domain and the owner always have. */
export function allows(permissions: Permissions, domid: number, right: number): boolean {
  if (domid === DOMID_CONTROL || domid === ownerOf(permissions)) return true
  const entry = permissions.slice(1).find((permission) => permission.domid === domid) ?? permissions[0]!
  return (entry.rights & right) === right
}

/** What a new node below a node with `permissions` starts with: the same, but a guest owns what it creates. */
export function inherit(permissions: Permissions, domid: number): Permissions {
  if (domid === DOMID_CONTROL) return permissions
  return [{ domid, rights: permissions[0]!.rights }, ...permissions.slice(1)]
}
