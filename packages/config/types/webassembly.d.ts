/**
 * The part of WebAssembly's JavaScript interface that iospace uses. TypeScript ships it only with the browser's
 * library, which the packages do not load. Not emitted: no package's public types may name it.
 */
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { readonly initial: number; readonly maximum?: number; readonly shared?: boolean })
    readonly buffer: ArrayBuffer
    grow(pages: number): number
  }
  class Module {
    constructor(bytes: ArrayBuffer | ArrayBufferView)
  }
  class Instance {
    constructor(module: Module, imports?: Record<string, Record<string, unknown>>)
    readonly exports: Record<string, unknown>
  }
  function validate(bytes: ArrayBuffer | ArrayBufferView): boolean
}
