/** Get Log Page (NVMe 1.4 section 5.14): the three log pages that every controller has. */
import type { MachineMemory } from '@iospace/machine'
import { ERROR_LOG_ENTRIES, type ErrorLog } from './error-log.ts'
import { FIRMWARE, text } from './identify.ts'
import type { IoCommands } from './io-commands.ts'
import { ALL_NAMESPACES, IoOpcode, MAX_TRANSFER, Sqe } from './spec/commands.ts'
import { errorLogEntry, firmwareLog, healthLog, LogPage } from './spec/logs.ts'
import { Status } from './spec/status.ts'

/** The composite temperature that the health log reports: 300 K. */
const TEMPERATURE = 300
const SIZES: Readonly<Record<number, number>> = {
  [LogPage.errorInformation]: ERROR_LOG_ENTRIES * errorLogEntry.size,
  [LogPage.health]: healthLog.size,
  [LogPage.firmwareSlot]: firmwareLog.size,
}
/** RAE in cdw10: the event that the log belongs to stays unacknowledged. */
const RETAIN_EVENT = 0x8000

/** The part of a log page that a command wants. */
export interface LogRequest {
  readonly id: number
  readonly retainEvent: boolean
  /** Bytes. */
  readonly offset: number
  readonly length: number
}

/** Decodes the request of the command at word `sqe`, or returns a status. */
export function logRequest({ words }: MachineMemory, sqe: number): LogRequest | number {
  const cdw10 = words[sqe + Sqe.cdw10]!
  const cdw11 = words[sqe + Sqe.cdw11]!
  const id = cdw10 & 0xff
  const size = SIZES[id]
  if (size === undefined) return Status.invalidLogPage
  const nsid = words[sqe + Sqe.nsid]! >>> 0
  if (nsid !== 0 && nsid !== ALL_NAMESPACES) return Status.invalidField
  // NUMD is 0's based, in doublewords: 15:0 in cdw10 31:16, 31:16 in cdw11 15:0. The offset is a multiple of 4 inside the page.
  const length = ((cdw11 & 0xffff) * 0x1_0000 + (cdw10 >>> 16) + 1) * 4
  const offset = words[sqe + Sqe.cdw12]! >>> 0
  if (length > MAX_TRANSFER || words[sqe + Sqe.cdw13] !== 0 || offset > size || offset % 4 !== 0)
    return Status.invalidField
  return { id, retainEvent: (cdw10 & RETAIN_EVENT) !== 0, offset, length }
}

/** Writes log page `id` at `at`, where everything is zero before. */
export function writeLog(id: number, view: DataView, at: number, io: IoCommands, errors: ErrorLog): void {
  switch (id) {
    case LogPage.errorInformation:
      errors.write(view, at)
      return
    case LogPage.health:
      healthLog.write(view, at, {
        ...healthLog.zero(),
        temperature_low: TEMPERATURE & 0xff,
        temperature_high: TEMPERATURE >> 8,
        avail_spare: 100,
        spare_thresh: 10,
        data_units_read: wide(Math.ceil(io.bytesRead / 512_000)),
        data_units_written: wide(Math.ceil(io.bytesWritten / 512_000)),
        host_reads: wide(io.counts[IoOpcode.read]!),
        host_writes: wide(io.counts[IoOpcode.write]!),
        media_errors: wide(io.mediaErrors),
        num_err_log_entries: [errors.count, 0n],
      })
      return
    default:
      // The running firmware is that of slot 1.
      firmwareLog.write(view, at, { afi: 1, frs1: text(FIRMWARE, 8) })
  }
}

const wide = (value: number): readonly bigint[] => [BigInt(value), 0n]
