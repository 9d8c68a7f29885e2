/** Where northbridges are on the PCI bus: node n is device 24 + n of bus 0, its GART registers in function 3. Source: Linux amd_nb.c. */

export const NORTHBRIDGE_VENDOR = 0x1022
/** Device ids of function 3: K8 (family 0Fh), family 10h. */
export const NorthbridgeId = { k8: 0x1103, family10h: 0x1203 } as const
/** Host bridge. */
export const NORTHBRIDGE_CLASS = 0x06_0000

const FIRST_DEVICE = 0x18
const MISC_FUNCTION = 3
/** A coherent HyperTransport fabric has up to 8 nodes. */
export const MAX_NODES = 8

/** Bus, device and function number of the GART registers of `node`. */
export function northbridgeBdf(node: number): number {
  return ((FIRST_DEVICE + node) << 3) | MISC_FUNCTION
}
