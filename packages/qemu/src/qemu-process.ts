/**
 * A QEMU process with its qtest channel on two named pipes. Everything here blocks: the caller's code is synchronous.
 *
 * Two more pipes bind the lives together. QEMU inherits the writing end of `life`, so that end of file there means that it has
 * ended, at whatever moment. A shell that started QEMU reads `leash`, whose writing end only we hold: it ends QEMU and clears
 * up when we close it, and also when this process dies in any way.
 */
import { execFileSync, spawn } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { haltFirmware } from './firmware.ts'
import { QemuError } from './qemu-error.ts'

/** Arguments: the folder, then QEMU and its arguments. Descriptors: 3 is `life`, which the shell itself must not keep, 4 `leash`. */
const KEEPER = 'folder=$1; shift; "$@" 4<&- & exec 3>&-; read -r _ <&4; kill -9 $!; wait; rm -rf "$folder"'
/** Answers of QEMU's option parser and of a dying device are short; a crash with a register dump is not. */
const STDERR_TAIL = 2000
const START_LIMIT_MS = 30_000
const END_LIMIT_MS = 5_000

const doorbell = new Int32Array(new SharedArrayBuffer(4))
const sleepMs = (ms: number): void => {
  Atomics.wait(doorbell, 0, 0, ms)
}

export interface QemuProcessOptions {
  /** Program, as found by `findQemu`. */
  readonly qemu: string
  /** Arguments besides the qtest channel and the firmware. */
  readonly args: readonly string[]
  /** What the processor runs, by default a halt. */
  readonly firmware?: Uint8Array
}

export class QemuProcess implements Disposable {
  /** Blocking descriptors of the channel: commands go to `input`, answers come from `output`. */
  readonly input: number
  readonly output: number
  readonly #folder: string
  readonly #leash: number
  readonly #life: number
  #ended = false

  constructor({ qemu, args, firmware = haltFirmware() }: QemuProcessOptions) {
    this.#folder = mkdtempSync(join(tmpdir(), 'iospace-qemu-'))
    const at = (name: string) => join(this.#folder, name)
    execFileSync('mkfifo', ['channel.in', 'channel.out', 'life', 'leash'].map(at))
    writeFileSync(at('firmware'), firmware)
    const open: number[] = []
    const take = (name: string, flags: number): number => {
      const descriptor = openSync(at(name), flags)
      open.push(descriptor)
      return descriptor
    }
    this.#leash = take('leash', constants.O_RDWR)
    this.#life = take('life', constants.O_RDONLY | constants.O_NONBLOCK)
    const ours = take('channel.in', constants.O_RDWR)
    const early = take('channel.out', constants.O_RDONLY | constants.O_NONBLOCK)
    const theirs = [openSync(at('life'), constants.O_WRONLY), openSync(at('leash'), constants.O_RDONLY)]
    const stderr = openSync(at('stderr'), 'w')
    const command = [qemu, ...args, '-bios', at('firmware'), '-qtest', `pipe:${at('channel')}`, '-qtest-log', 'none']
    spawn('sh', ['-c', KEEPER, 'sh', this.#folder, ...command], {
      stdio: ['ignore', 'ignore', stderr, ...theirs],
    }).unref()
    for (const descriptor of [...theirs, stderr]) closeSync(descriptor)
    try {
      this.#awaitWriter(early)
      // QEMU holds both ends of both pipes now. Reopened, each has QEMU alone at its other end: if it ends, we see it.
      this.output = take('channel.out', constants.O_RDONLY)
      this.input = take('channel.in', constants.O_WRONLY)
    } catch (error) {
      this.#end(open)
      throw error
    }
    closeSync(early)
    closeSync(ours)
  }

  /** The end of what QEMU wrote to its standard error. */
  get stderr(): string {
    return this.#ended ? '' : readFileSync(join(this.#folder, 'stderr'), 'utf8').slice(-STDERR_TAIL)
  }

  [Symbol.dispose](): void {
    if (!this.#ended) this.#end([this.input, this.output, this.#life, this.#leash])
  }

  #end(descriptors: readonly number[]): void {
    this.#ended = true
    closeSync(this.#leash)
    for (let waited = 0; this.#alive() && waited < END_LIMIT_MS; waited++) sleepMs(1)
    for (const descriptor of descriptors) if (descriptor !== this.#leash) closeSync(descriptor)
    // The shell does it too, a moment later.
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 })
  }

  /** Waits until somebody has opened the answers' pipe for writing: before that a read is at end of file. */
  #awaitWriter(descriptor: number): void {
    for (let waited = 0; atEnd(descriptor); waited++) {
      if (!this.#alive()) throw new QemuError('ended before it opened its channel', this.stderr)
      if (waited > START_LIMIT_MS) throw new QemuError('did not open its channel', this.stderr)
      sleepMs(1)
    }
  }

  #alive(): boolean {
    return !atEnd(this.#life)
  }
}

/** True when the pipe of a non-blocking descriptor is empty and has no writer. */
function atEnd(descriptor: number): boolean {
  try {
    return readSync(descriptor, new Uint8Array(1)) === 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false
    throw error
  }
}
