/** A virtual disk in xenstore: the two folders in which a front-end and a back-end meet (Linux Documentation, libxl's layout). */
import { XENBUS_STATE } from '@iospace/abi'
import type { LocalClient } from '../xenstore/local-client.ts'
import { domainPath } from '../xenstore/path.ts'
import { Right } from '../xenstore/permissions.ts'

export interface BlockDevice {
  /** The domain that uses the disk, and the one that serves it. */
  readonly frontend: number
  readonly backend: number
  /** `xvda`, `xvdb`… as the guest knows it. */
  readonly name: string
  /** What the back-end opens: the name of a block device of its kernel. */
  readonly params: string
  readonly readOnly: boolean
  /** True length of what is on the disk: the last sector may be padded. */
  readonly bytes: number
}

/** The number of `xvdX` (major 202, 16 minors each). */
export const virtualDevice = (name: string): number => (202 << 8) | ((name.charCodeAt(3) - 0x61) << 4)

export const frontendPath = ({ frontend, name }: BlockDevice): string =>
  `${domainPath(frontend)}/device/vbd/${virtualDevice(name)}`

export const backendPath = ({ frontend, backend, name }: BlockDevice): string =>
  `${domainPath(backend)}/backend/vbd/${frontend}/${virtualDevice(name)}`

/** Makes both folders: each side owns its own and reads the other's. The back-end's first, because the front-end's names it. */
export function attachBlockDevice(store: LocalClient, device: BlockDevice): void {
  const { frontend, backend, name, params, readOnly, bytes } = device
  folder(store, backendPath(device), backend, frontend, {
    'frontend-id': frontend,
    frontend: frontendPath(device),
    online: 1,
    removable: 0,
    bootable: 0,
    dev: name,
    type: 'phy',
    'device-type': 'disk',
    mode: readOnly ? 'r' : 'w',
    params,
    'size-bytes': bytes,
    state: XENBUS_STATE.Initialising,
  })
  folder(store, frontendPath(device), frontend, backend, {
    'backend-id': backend,
    backend: backendPath(device),
    'virtual-device': virtualDevice(name),
    'device-type': 'disk',
    state: XENBUS_STATE.Initialising,
  })
}

function folder(
  store: LocalClient,
  path: string,
  owner: number,
  reader: number,
  nodes: Readonly<Record<string, string | number>>,
): void {
  store.mkdir(path)
  store.setPermissions(path, [
    { domid: owner, rights: Right.none },
    { domid: reader, rights: Right.read },
  ])
  // Made below it, they have the folder's permissions.
  for (const [name, value] of Object.entries(nodes)) store.write(`${path}/${name}`, value)
}
