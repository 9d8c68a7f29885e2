/** Interrupt table entries: 4 bytes, or 16 with GAEn. Source: AMD 48882 “Interrupt Remapping Tables”; facts G. */
export const InterruptEntry = {
  /** RemapEn. */
  remap: 0x1,
  /** SupIOPF: faults of this entry are not logged. */
  suppress: 0x2,
  /** 4:2 IntType: 0 fixed, 1 arbitrated. */
  typeShift: 2,
  typeMask: 0x7,
  maxType: 1,
  /** GuestMode: a virtual APIC's; reserved here, since EFR.GAMSup is 0. */
  guest: 0x80,
  /** 4-byte entries: 23:16 vector, 31:24 reserved. */
  vectorShift: 16,
  reserved: 0xff00_0000 | 0,
  /** 16-byte entries, word 2: 7:0 vector, 11:8 reserved; word 3: 23:20 reserved. Word 1 is software's tag. */
  reserved2: 0xf00,
  reserved3: 0xf0_0000,
} as const

/** MSI data: the entry's index is 10:0; 10:8 is at the same time the delivery mode. */
export const InterruptMessage = { indexMask: 0x7ff, modeShift: 8, modeMask: 0x7 } as const

/** Delivery modes of a message. */
export const DeliveryMode = { fixed: 0, arbitrated: 1, smi: 2, nmi: 4, init: 5, external: 7 } as const
