/** Data of the Identify command (NVMe 1.4 section 5.15.2). Text is ASCII, padded with spaces. */
import { array, bytes, pad, struct, u16, u32, u64, u8 } from '@iospace/wire'

/** What CNS in cdw10 7:0 asks for. */
export const Cns = { namespace: 0, controller: 1, activeNamespaces: 2, namespaceDescriptors: 3 } as const

export const IDENTIFY_BYTES = 4096

/** Power state descriptor (figure 249). */
const powerState = struct('nvme_id_power_state', { mp: u16, rsvd2: pad(30) })

/** Identify Controller (figure 247). */
export const identifyController = struct('nvme_id_ctrl', {
  vid: u16,
  ssvid: u16,
  sn: bytes(20),
  mn: bytes(40),
  fr: bytes(8),
  rab: u8,
  ieee: bytes(3),
  cmic: u8,
  /** log2 of the largest transfer in pages of CAP.MPSMIN. */
  mdts: u8,
  cntlid: u16,
  ver: u32,
  rtd3r: u32,
  rtd3e: u32,
  oaes: u32,
  ctratt: u32,
  rrls: u16,
  rsvd102: pad(9),
  /** 1: a controller with I/O queues. */
  cntrltype: u8,
  fguid: bytes(16),
  rsvd128: pad(128),
  /** Optional admin commands. */
  oacs: u16,
  /** Concurrent aborts and event requests, 0's based. */
  acl: u8,
  aerl: u8,
  frmw: u8,
  /** Bit 2: Get Log Page takes long lengths and offsets. */
  lpa: u8,
  /** Entries of the error log, 0's based. */
  elpe: u8,
  npss: u8,
  rsvd264: pad(2),
  /** Warning and critical temperature in kelvins. */
  wctemp: u16,
  cctemp: u16,
  rsvd270: pad(242),
  /** log2 of the least (3:0) and largest (7:4) queue entry. */
  sqes: u8,
  cqes: u8,
  maxcmd: u16,
  /** Number of namespaces. */
  nn: u32,
  /** Optional I/O commands. */
  oncs: u16,
  fuses: u16,
  fna: u8,
  /** Bit 0: a volatile write cache exists; bits 2:1 = 3: Flush takes all namespaces. */
  vwc: u8,
  awun: u16,
  awupf: u16,
  rsvd530: pad(6),
  sgls: u32,
  rsvd540: pad(228),
  subnqn: bytes(256),
  rsvd1024: pad(1024),
  psd: array(powerState, 32),
  rsvd3072: pad(1024),
})

/** Identify Namespace (figure 245). */
export const identifyNamespace = struct('nvme_id_ns', {
  /** Size, capacity and utilization in logical blocks. */
  nsze: u64,
  ncap: u64,
  nuse: u64,
  nsfeat: u8,
  nlbaf: u8,
  flbas: u8,
  rsvd27: pad(72),
  /** Bit 0: the namespace is write protected. */
  nsattr: u8,
  rsvd100: pad(28),
  /** LBA format 0: metadata bytes, log2 of a block's bytes, relative performance. */
  lbaf0_ms: u16,
  lbaf0_ds: u8,
  lbaf0_rp: u8,
  rsvd132: pad(3964),
})

/** Namespace identification descriptor of type UUID (figure 246); zeros after it end the list. */
export const namespaceUuid = struct('nvme_ns_id_desc', { nidt: u8, nidl: u8, rsvd2: pad(2), nid: bytes(16) })
export const NIDT_UUID = 3
