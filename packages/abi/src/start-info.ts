import { bytes, pad, struct, u32, u64 } from '@iospace/wire'

/** Bytes of the command line, its final zero included. */
export const MAX_GUEST_CMDLINE = 1024

/** Flags of start_info: what the domain is. */
export const SIF = Object.freeze({
  PRIVILEGED: 1 << 0,
  INITDOMAIN: 1 << 1,
  MULTIBOOT_MOD: 1 << 2,
  MOD_START_PFN: 1 << 3,
  VIRT_P2M_4TOOLS: 1 << 4,
})

/**
 * What a PV domain finds at its start, written by the domain builder. magic is `xen-3.0-x86_64` and zeros; frames of a
 * PV domain are machine frames. The console fields are those of a domU. Source: xen/include/public/xen.h.
 */
export const start_info = struct('start_info', {
  magic: bytes(32),
  nr_pages: u64,
  /** Machine address of the shared_info page. */
  shared_info: u64,
  flags: u32,
  pad0: pad(4),
  store_mfn: u64,
  store_evtchn: u32,
  pad1: pad(4),
  console_mfn: u64,
  console_evtchn: u32,
  pad2: pad(4),
  pt_base: u64,
  nr_pt_frames: u64,
  mfn_list: u64,
  mod_start: u64,
  mod_len: u64,
  cmd_line: bytes(MAX_GUEST_CMDLINE),
  first_p2m_pfn: u64,
  nr_p2m_frames: u64,
})
