import { IospaceError } from '@iospace/wire'

/** QEMU could not be started, ended by itself, or refused a command. `stderr` is the end of what it said. */
export class QemuError extends IospaceError {
  readonly stderr: string

  constructor(problem: string, stderr: string) {
    const said = stderr.trim()
    super('state', `QEMU ${problem}${said === '' ? '' : `; it said: ${said}`}`)
    this.stderr = said
  }
}
