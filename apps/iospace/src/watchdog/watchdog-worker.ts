/** The worker behind `Watchdog`. */
import { writeSync } from 'node:fs'
import { Session, type Debugger } from 'node:inspector'
import process from 'node:process'
import { workerData } from 'node:worker_threads'

const { beats, seconds } = workerData as { readonly beats: Int32Array; readonly seconds: number }
/** How long the main thread has to answer the inspector before it is ended without a place. */
const PATIENCE = 5000
const FRAMES = 8

let last = -1
let silent = 0

// Ticks are counted, not time: a process that was stopped and continued has missed no tick.
const timer = setInterval(() => {
  const now = Atomics.load(beats, 0)
  silent = now === last ? silent + 1 : 0
  last = now
  if (silent < seconds) return
  clearInterval(timer)
  report()
}, 1000)

function report(): void {
  say(`iospace: nothing has come back from a program for ${seconds} s: it loops without calling anything`)
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), PATIENCE)
  const session = new Session()
  const files = new Map<string, string>()
  session.connectToMainThread()
  session.on('Debugger.scriptParsed', ({ params }) => files.set(params.scriptId, params.url))
  session.on('Debugger.paused', ({ params }) => {
    for (const frame of params.callFrames.slice(0, FRAMES))
      say(`  at ${placeOf(frame, files.get(frame.location.scriptId))}`)
    // Through the main thread, so that what must happen before an exit happens.
    const exit = { callFrameId: params.callFrames[0]!.callFrameId, expression: 'process.exit(1)' }
    session.post('Debugger.evaluateOnCallFrame', exit)
  })
  session.post('Debugger.enable')
  session.post('Debugger.pause')
}

function placeOf({ functionName, location }: Debugger.CallFrame, file = ''): string {
  return `${functionName === '' ? '(anonymous)' : functionName} (${file}:${location.lineNumber + 1}:${(location.columnNumber ?? 0) + 1})`
}

// The main thread, which would print for us, is busy.
function say(line: string): void {
  writeSync(2, `${line}\n`)
}
