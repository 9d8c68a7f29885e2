/**
 * Why a table walk fails. The hardware has no codes: F3x9C says that a walk failed, not which, whose or where.
 */
export const Fault = {
  /** The entry is not valid. */
  invalidEntry: 1,
  /** The table cannot be read there. */
  tableAccess: 2,
} as const

/** Names for people, by {@link Fault}. */
export const faultNames: Readonly<Record<number, string>> = {
  [Fault.invalidEntry]: 'invalid entry',
  [Fault.tableAccess]: 'table not readable',
}

/** What stands for a code where one is asked for. */
export const NO_HARDWARE_CODE = 0
