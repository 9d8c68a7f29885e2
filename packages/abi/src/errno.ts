/**
 * Xen's error numbers (equal to Linux's on x86), as hypercalls return them negated. Source: xen/include/public/errno.h.
 * `EINTR` and `ERESTART` are internal to a hypervisor and never reach a guest.
 */
export const Errno = Object.freeze({
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  EDOM: 33,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ENODATA: 61,
  ETIME: 62,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EILSEQ: 84,
  ERESTART: 85,
  ENOTSOCK: 88,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
})

/** The name of an error: `'EINVAL'`. */
export type ErrnoName = keyof typeof Errno
/** An error number, positive. */
export type ErrnoValue = (typeof Errno)[ErrnoName]

const names = new Map<number, ErrnoName>(Object.entries(Errno).map(([name, value]) => [value, name as ErrnoName]))

/** The name of an error number, negated or not; `undefined` for 0 and for numbers that are not errors. */
export function errnoName(result: number): ErrnoName | undefined {
  return names.get(Math.abs(result))
}

/**
 * The errors of `iommu_op` in order of precedence: when several rules are broken at once, the call answers the first of
 * these. Those of one row are on one level, decided in the order of the fields.
 */
export const ERRNO_PRECEDENCE: readonly (readonly ErrnoName[])[] = Object.freeze([
  ['EFAULT'],
  ['EINVAL', 'E2BIG', 'EOPNOTSUPP'],
  ['EPERM'],
  ['ESRCH'],
  ['ENODEV'],
  ['ENOENT'],
  ['EOVERFLOW'],
  ['ERANGE'],
  ['EADDRNOTAVAIL'],
  ['EADDRINUSE'],
  ['ENXIO'],
  ['EACCES'],
  ['ENOSPC'],
  ['ENOBUFS'],
  ['ENOMEM'],
  ['EIO'],
])
