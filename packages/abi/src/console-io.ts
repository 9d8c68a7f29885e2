/**
 * Commands of `console_io(cmd, count, guest pointer to bytes)`. Returns bytes read, or 0 for write. Source:
 * xen/include/public/xen.h.
 */
export const CONSOLEIO = Object.freeze({ write: 0, read: 1 })
