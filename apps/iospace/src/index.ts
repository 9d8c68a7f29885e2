/** The command line for other programs: to run it in their own process, or one of its runs without files and reports. */
export { main } from './cli/main.ts'
export type { Host, Terminal } from './cli/host.ts'
export type { Verb } from './cli/verb.ts'
export { ChromeTrace, type TextSink, type TraceCounts } from './trace/chrome-trace.ts'
export { VERBS } from './verbs.ts'
export { runStorage, type StorageRun, type StorageRunResult } from './storage/run.ts'
export { Name, storageSystem, type StorageSystem } from './storage/system.ts'
export type { AttackRow, StorageReport } from './storage/report.ts'
