/** What the memory of both boards holds in a differential run. Both have the same 64 MiB of RAM. */

export const PAGE = 4096

/** Tables and queues: cleared for each episode. */
export const ARENA = 0x2000
export const ARENA_FRAMES = 0x100
export const QUEUE = 0x2000
/** Where waits store, and a word in it that nobody looks at. */
export const WAIT_STATUS = 0x2001
export const SPARE_BYTE = 64
/** From here on, what only operations store to. */
export const TABLES = 0x2002

/** No RAM, and nothing else either. */
export const ABSENT = 0x3_0000

/**
 * What a device has fetched it stores here for us to see. The frame's I/O address is its own number, so that a device that passes
 * untranslated finds it too.
 */
export const READBACK = 0x1f0

/** First frames of the runs that leaves lead to. Addresses are made so that they are reached through large pages too. */
export const DATA = [0x0, 0x200, 0x600] as const
/** A transfer may cross into the frame behind the last one that is named. */
export const DATA_FRAMES = 9
/** Bytes of a run of data frames. */
export const RUN_BYTES = DATA_FRAMES * PAGE

/** RAM below the tables that anything may have been written to; the chipset of a PC has none at 0xa0000. */
export const LOW_RAM = [
  [0, 0xa_0000],
  [0x10_0000, 0x80_0000],
] as const

/** Bytes of an edu buffer: below, what was fetched; above, what is stored. */
export const STORE_AT = 2048
export const STORE_BYTES = 2047
export const MAX_LENGTH = 1500
/** Byte of the read-back page that nothing was stored to. */
export const UNSEEN = 0xee
