import type { ErrnoName } from '@iospace/abi'

/**
 * How the store says no: an error's name, which is also what travels in an XS_ERROR message. Results are unions with it, because a
 * guest can cause each of them.
 */
export type StoreError = Extract<
  ErrnoName,
  | 'EINVAL'
  | 'EACCES'
  | 'EEXIST'
  | 'ENOENT'
  | 'ENOSPC'
  | 'EIO'
  | 'ENOSYS'
  | 'EBUSY'
  | 'EAGAIN'
  | 'E2BIG'
  | 'EPERM'
  | 'EISCONN'
>
