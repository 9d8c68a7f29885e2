/**
 * QEMU's qtest protocol (docs/devel/testing/qtest.rst of QEMU): one line per command, one line per answer, in order.
 *
 * Writes are posted: they gather in a buffer, go out together, and their answers are collected at the next read. A read is one
 * round trip (about 50 µs), a posted write costs a tenth of it.
 */
import { readSync, writeSync } from 'node:fs'
import { BoundsError, hex } from '@iospace/wire'
import { QemuError } from './qemu-error.ts'
import { QemuProcess, type QemuProcessOptions } from './qemu-process.ts'

/** An answer is at least "OK\n". Fewer than fill a pipe may wait in it, or both sides would wait for each other. */
const MAX_POSTED = 4096
const BUFFER_BYTES = 1 << 16
/** Bytes of one block command: in base64 and with its name it must fit the buffer. */
const BLOCK_BYTES = 1 << 15

export class Qtest implements Disposable {
  readonly #process: QemuProcess
  readonly #out = Buffer.alloc(BUFFER_BYTES)
  readonly #in = Buffer.alloc(BUFFER_BYTES)
  #filled = 0
  #posted = 0
  #answers = ''
  #last = ''
  #commands = 0

  /** Starts QEMU. QemuError, with what QEMU said, when it does not start. */
  constructor(options: QemuProcessOptions) {
    this.#process = new QemuProcess(options)
    try {
      // QEMU opens the channel before it builds the machine: only an answer tells that the arguments were good.
      this.readb(0)
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  /** Commands sent since the start. */
  get commands(): number {
    return this.#commands
  }

  readb(address: number): number {
    return Number(this.#ask(`readb ${hex(address)}`))
  }
  readw(address: number): number {
    return Number(this.#ask(`readw ${hex(address)}`))
  }
  readl(address: number): number {
    return Number(this.#ask(`readl ${hex(address)}`))
  }
  readq(address: number): bigint {
    return BigInt(this.#ask(`readq ${hex(address)}`))
  }

  writeb(address: number, value: number): void {
    this.#post(`writeb ${hex(address)} ${hex(value & 0xff)}`)
  }
  writew(address: number, value: number): void {
    this.#post(`writew ${hex(address)} ${hex(value & 0xffff)}`)
  }
  writel(address: number, value: number): void {
    this.#post(`writel ${hex(address)} ${hex(value >>> 0)}`)
  }
  writeq(address: number, value: bigint): void {
    this.#post(`writeq ${hex(address)} ${hex(BigInt.asUintN(64, value))}`)
  }

  inb(port: number): number {
    return Number(this.#ask(`inb ${hex(port)}`))
  }
  inw(port: number): number {
    return Number(this.#ask(`inw ${hex(port)}`))
  }
  inl(port: number): number {
    return Number(this.#ask(`inl ${hex(port)}`))
  }
  outb(port: number, value: number): void {
    this.#post(`outb ${hex(port)} ${hex(value & 0xff)}`)
  }
  outw(port: number, value: number): void {
    this.#post(`outw ${hex(port)} ${hex(value & 0xffff)}`)
  }
  outl(port: number, value: number): void {
    this.#post(`outl ${hex(port)} ${hex(value >>> 0)}`)
  }

  /** `length` bytes of memory from `address`. */
  read(address: number, length: number): Uint8Array {
    const result = new Uint8Array(length)
    for (let at = 0; at < length; at += BLOCK_BYTES) {
      const piece = Math.min(BLOCK_BYTES, length - at)
      const bytes = Buffer.from(this.#ask(`b64read ${hex(address + at)} ${hex(piece)}`), 'base64')
      if (bytes.length !== piece) throw new BoundsError('QEMU memory', address + at, piece, bytes.length)
      result.set(bytes, at)
    }
    return result
  }

  /** Writes `bytes` to memory from `address`. */
  write(address: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      const piece = Buffer.from(bytes.subarray(at, at + BLOCK_BYTES))
      this.#post(`b64write ${hex(address + at)} ${hex(piece.length)} ${piece.toString('base64')}`)
    }
  }

  /** Sets `length` bytes of memory from `address` to `value`. */
  fill(address: number, value: number, length: number): void {
    if (length > 0) this.#post(`memset ${hex(address)} ${hex(length)} ${hex(value & 0xff)}`)
  }

  /** Sends what is posted and waits for its answers. */
  settle(): void {
    this.#flush()
    for (; this.#posted > 0; this.#posted--) this.#answer()
  }

  /** Ends QEMU and removes its pipes. */
  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]()
  }

  #ask(command: string): string {
    if (this.#posted >= MAX_POSTED) this.settle()
    this.#put(command)
    this.settle()
    return this.#answer()
  }

  #post(command: string): void {
    if (this.#posted >= MAX_POSTED) this.settle()
    this.#put(command)
    this.#posted++
  }

  #put(command: string): void {
    if (this.#filled + command.length + 1 > BUFFER_BYTES) this.#flush()
    this.#filled += this.#out.write(`${command}\n`, this.#filled, 'latin1')
    this.#last = command
    this.#commands++
  }

  #flush(): void {
    const end = this.#filled
    this.#filled = 0
    try {
      for (let at = 0; at < end;) at += writeSync(this.#process.input, this.#out, at, end - at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
      throw this.#failed('ended')
    }
  }

  /** The next answer, without its "OK ". Interrupt lines that changed are told in between, where somebody asked for them. */
  #answer(): string {
    for (let line = this.#line(); ; line = this.#line()) {
      if (line.startsWith('OK')) return line.slice(3)
      if (!line.startsWith('IRQ ')) throw this.#failed(`answered “${line}”`)
    }
  }

  #line(): string {
    for (;;) {
      const end = this.#answers.indexOf('\n')
      if (end >= 0) {
        const line = this.#answers.slice(0, end)
        this.#answers = this.#answers.slice(end + 1)
        return line
      }
      const length = readSync(this.#process.output, this.#in)
      if (length === 0) throw this.#failed('ended')
      this.#answers += this.#in.toString('latin1', 0, length)
    }
  }

  #failed(what: string): QemuError {
    return new QemuError(`${what} (last command sent: ${this.#last.slice(0, 80)})`, this.#process.stderr)
  }
}
