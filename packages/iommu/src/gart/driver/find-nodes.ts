/** How software finds the northbridges: devices 24 to 31 of bus 0, by the ids of function 3. Source: Linux amd_nb.c. */
import type { ConfigAccess } from '../../config-access.ts'
import { MAX_NODES, NORTHBRIDGE_VENDOR, northbridgeBdf, NorthbridgeId } from '../spec/northbridge.ts'

const IDS = Object.values(NorthbridgeId).map((device) => device * 0x1_0000 + NORTHBRIDGE_VENDOR)

/** Bus, device and function numbers of those that have a GART, node 0 first; none: there is no GART in this machine. */
export function findNodes(config: ConfigAccess): number[] {
  const found: number[] = []
  for (let node = 0; node < MAX_NODES; node++) {
    const bdf = northbridgeBdf(node)
    if (IDS.includes(config.configRead(bdf, 0, 4))) found.push(bdf)
  }
  return found
}
