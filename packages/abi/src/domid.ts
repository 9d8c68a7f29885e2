/** Domain ids that are not domains. Source: xen/include/public/xen.h. */
export const DOMID = Object.freeze({
  /** The first id that no domain can have. */
  FIRST_RESERVED: 0x7ff0,
  /** The caller itself. */
  SELF: 0x7ff0,
  /** Owner of memory-mapped I/O frames and of quarantined devices. */
  IO: 0x7ff1,
  /** Owner of the hypervisor's own frames. */
  XEN: 0x7ff2,
  /** Owner of shared frames under copy-on-write. */
  COW: 0x7ff3,
  /** No domain. */
  INVALID: 0x7ff4,
  /** The idle domain. */
  IDLE: 0x7fff,
  /** The bits a domain id may have. */
  MASK: 0x7fff,
})

/** The control domain's id. */
export const DOMID_CONTROL = 0
