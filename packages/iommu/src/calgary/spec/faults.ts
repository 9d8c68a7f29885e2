/**
 * Why a table look-up finds no frame. These numbers are ours: the chip records neither reason nor address (facts C.1), so that people see
 * the names and no hardware code.
 */
export const Fault = {
  /** The address lies behind the end of the table; 64-bit addresses always do. */
  beyondTable: 1,
  /** The entry grants nothing. */
  notPresent: 2,
  /** The entry does not grant this access. */
  permission: 3,
  /** The entry could not be read. */
  tableAccess: 4,
  /** TAR is not valid; only units that look at the bit. */
  tableInvalid: 5,
} as const

/** By number; 0 is no fault. */
export const FAULT_NAMES = [
  'no fault',
  'address beyond the table',
  'entry grants nothing',
  'entry does not grant this access',
  'entry cannot be read',
  'TAR is not valid',
] as const
