/** The errno that goes with a grant status, by its absolute value. */
import { Errno, GNTST } from '@iospace/abi'

export const GNTST_ERRNO: Int32Array = (() => {
  const table = new Int32Array(16).fill(-Errno.EINVAL)
  const set = (status: number, errno: number): void => {
    table[-status] = -errno
  }
  set(GNTST.general_error, Errno.EACCES)
  set(GNTST.bad_domain, Errno.ESRCH)
  set(GNTST.bad_gntref, Errno.ENOENT)
  set(GNTST.bad_handle, Errno.ENOENT)
  set(GNTST.no_device_space, Errno.ENOSPC)
  set(GNTST.permission_denied, Errno.EPERM)
  set(GNTST.bad_page, Errno.ENXIO)
  set(GNTST.no_space, Errno.ENOBUFS)
  return table
})()
