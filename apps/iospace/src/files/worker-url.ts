/** Where a worker's file is: beside the file `base`, with its ending, which is another one before and after the build. */
export function workerUrl(name: string, base: string): URL {
  return new URL(`${name}${base.slice(base.lastIndexOf('.'))}`, base)
}
