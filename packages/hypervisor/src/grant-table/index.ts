/**
 * `grant_table_op(cmd, array, count)`. Each element has its own status; the call returns 0 even when all failed. Elements are copied in once,
 * in pieces that fit the scratch. Source: xen/common/grant_table.c.
 */
import {
  DOMID,
  Errno,
  GNTST,
  GNTTABOP,
  gnttab_copy,
  gnttab_get_version,
  gnttab_map_grant_ref,
  gnttab_query_size,
  gnttab_set_version,
  gnttab_setup_table,
  gnttab_unmap_grant_ref,
} from '@iospace/abi'
import type { Call } from '../call.ts'
import { showMappings } from '../io-space/invalidate.ts'
import { copyElement } from './copy.ts'
import { mapGrantRef } from './map.ts'
import { UNMAP_BATCH, UnmapBatch } from './unmap.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const MAP = GNTTABOP.map_grant_ref
const COPY = GNTTABOP.copy

export function grantTableOp(call: Call, command: number, pointer: number, count: number): number {
  if (!(count >= 0 && count <= 0x7fff_ffff)) return -Errno.EINVAL
  switch (command) {
    case GNTTABOP.map_grant_ref:
      return elements(call, command, pointer, count, gnttab_map_grant_ref.size)
    case GNTTABOP.unmap_grant_ref:
      return elements(call, command, pointer, count, gnttab_unmap_grant_ref.size)
    case GNTTABOP.copy:
      return elements(call, command, pointer, count, gnttab_copy.size)
    case GNTTABOP.setup_table:
      return count === 1 ? setupTable(call, pointer) : -Errno.EINVAL
    case GNTTABOP.query_size:
      return count === 1 ? querySize(call, pointer) : -Errno.EINVAL
    case GNTTABOP.set_version:
      return count === 1 ? setVersion(call, pointer) : -Errno.EINVAL
    case GNTTABOP.get_version:
      return count === 1 ? getVersion(call, pointer) : -Errno.EINVAL
    default:
      return -Errno.ENOSYS
  }
}

/** Does `command` for every element of the list, a batch of them between copy-in and copy-out. */
function elements(call: Call, command: number, pointer: number, count: number, size: number): number {
  const { core, caller, list, listAt, words } = call
  for (let done = 0; done < count;) {
    const now = Math.min(UNMAP_BATCH, count - done)
    if (!list.take(core.frames, caller.p2m, pointer + done * size, now * size, true)) return -Errno.EFAULT
    list.copyIn(core.memory, 0, listAt, now * size)
    const end = (listAt + now * size) >>> 2
    if (command === MAP) {
      for (let at = listAt >>> 2; at < end; at += size >> 2) mapGrantRef(call, at)
      showMappings(core)
    } else if (command === COPY) for (let at = listAt >>> 2; at < end; at += size >> 2) copyElement(call, at)
    else {
      const batch = (call.unmapBatch ??= new UnmapBatch(core)).begin(caller)
      for (let at = listAt >>> 2; at < end; at += size >> 2) batch.add(words, at)
      batch.finish(words)
    }
    list.copyOut(core.memory, listAt, 0, now * size)
    list.drop(core.frames)
    done += now
    core.pause(now)
    if (caller.dying) return -Errno.ESRCH
  }
  return 0
}

function setupTable(call: Call, pointer: number): number {
  const { core, caller } = call
  const argument = call.read(gnttab_setup_table, pointer, true)
  if (argument === null) return -Errno.EFAULT
  const domain = core.find(caller, argument.dom)
  if (domain !== caller && !caller.privileged) argument.status = GNTST.permission_denied
  else if (domain === undefined) argument.status = GNTST.bad_domain
  else if (domain.dying || !domain.grants.grow(argument.nr_frames)) argument.status = GNTST.general_error
  else {
    argument.status = GNTST.okay
    for (let i = 0; i < argument.nr_frames; i++) {
      if (!call.writeU64(Number(argument.frame_list) + 8 * i, core.mfn(domain.grants.frames[i]!)))
        argument.status = GNTST.bad_virt_addr
    }
  }
  return call.write(gnttab_setup_table, pointer, argument) ? 0 : -Errno.EFAULT
}

function querySize(call: Call, pointer: number): number {
  const { core, caller } = call
  const argument = call.read(gnttab_query_size, pointer, true)
  if (argument === null) return -Errno.EFAULT
  const domain = core.find(caller, argument.dom)
  if (domain !== caller && !caller.privileged) argument.status = GNTST.permission_denied
  else if (domain === undefined) argument.status = GNTST.bad_domain
  else {
    argument.nr_frames = domain.grants.frames.length
    argument.max_nr_frames = domain.grants.maxFrames
    argument.status = GNTST.okay
  }
  return call.write(gnttab_query_size, pointer, argument) ? 0 : -Errno.EFAULT
}

/** Only version 1 exists here; a guest that wants 2 falls back, as on a Xen with gnttab=max-ver:1. */
function setVersion(call: Call, pointer: number): number {
  const argument = call.read(gnttab_set_version, pointer, true)
  if (argument === null) return -Errno.EFAULT
  if (argument.version !== 1 && argument.version !== 2) return -Errno.EINVAL
  if (argument.version === 2) return -Errno.ENOSYS
  return call.write(gnttab_set_version, pointer, { version: 1 }) ? 0 : -Errno.EFAULT
}

function getVersion(call: Call, pointer: number): number {
  const { core, caller } = call
  const argument = call.read(gnttab_get_version, pointer, true)
  if (argument === null) return -Errno.EFAULT
  const domain = argument.dom === DOMID.SELF ? caller : core.find(caller, argument.dom)
  if (domain !== caller && !caller.privileged) return -Errno.EPERM
  if (domain === undefined) return -Errno.ESRCH
  argument.version = 1
  return call.write(gnttab_get_version, pointer, argument) ? 0 : -Errno.EFAULT
}
