import { bytes, struct, u32 } from '@iospace/wire'

/** What a xenstore message asks or answers. Source: xen/include/public/io/xs_wire.h. */
export const XS = Object.freeze({
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  INTRODUCE: 8,
  RELEASE: 9,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESUME: 18,
  SET_TARGET: 19,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
})

/** Sizes in bytes. */
export const XENSTORE = Object.freeze({
  RING_SIZE: 1024,
  /** Bytes of a message behind its header. */
  PAYLOAD_MAX: 4096,
  /** A path that starts with `/`, its final zero not counted. */
  ABS_PATH_MAX: 3072,
  REL_PATH_MAX: 2048,
})

/** State of a connection. */
export const XENSTORE_CONNECTION = Object.freeze({ CONNECTED: 0, RECONNECT: 1 })

/** Bits of server_features. */
export const XENSTORE_SERVER_FEATURE = Object.freeze({ RECONNECTION: 1, ERROR: 2 })

/** Why the server gave up on a connection. */
export const XENSTORE_ERROR = Object.freeze({ NONE: 0, COMM: 1, RINGIDX: 2, PROTO: 3 })

/** The header of a message; len bytes follow it. req_id comes back in the answer; tx_id is 0 outside a transaction. */
export const xsd_sockmsg = struct('xsd_sockmsg', { type: u32, req_id: u32, tx_id: u32, len: u32 })

/**
 * The page of a connection: two rings of bytes. Indices count for ever, modulo 2^32; a byte is at an index modulo 1024.
 * (1) the sender reads cons and prod, a distance beyond 1024 is an error; (2) barrier; (3) writes bytes; (4) barrier;
 * (5) prod; (6) event. The guest writes req, req_prod, rsp_cons; the server the others.
 */
export const xenstore_domain_interface = struct('xenstore_domain_interface', {
  req: bytes(1024),
  rsp: bytes(1024),
  req_cons: u32,
  req_prod: u32,
  rsp_cons: u32,
  rsp_prod: u32,
  server_features: u32,
  connection: u32,
  error: u32,
})

/**
 * The page of a console: two rings of bytes, as above. The guest writes in_cons, out, out_prod. Source:
 * xen/include/public/io/console.h.
 */
export const xencons_interface = struct('xencons_interface', {
  in: bytes(1024),
  out: bytes(2048),
  in_cons: u32,
  in_prod: u32,
  out_cons: u32,
  out_prod: u32,
})
