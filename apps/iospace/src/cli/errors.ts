/** A command line that makes no sense: one sentence for the user, exit status 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UsageError'
  }
}

/** A file of the user's is not what it should be: one sentence for the user, exit status 2. */
export class FileError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'FileError'
  }
}

/** The host does not give what a run needs: one sentence for the user, exit status 1. */
export class HostError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'HostError'
  }
}
