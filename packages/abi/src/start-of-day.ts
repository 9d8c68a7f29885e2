/**
 * Where a domain finds its `start_info`. Real PV guests get its address in a register and read it through page tables that their
 * builder made; here there are no guest page tables, so the page has a fixed place.
 */

/** Pfn of the page that holds `start_info`. Pfn 0 stays empty, so that a null guest pointer names nothing. */
export const START_INFO_PFN = 1
