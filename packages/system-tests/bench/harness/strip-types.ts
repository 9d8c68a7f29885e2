/**
 * A module hook that takes the types out of TypeScript sources in the thread that Node gives to hooks. Node would do it in this one, by a
 * WebAssembly program that grows its memory; that detaches a buffer, and from then on V8 checks each access of any typed array for
 * being detached. What is measured here is the published JavaScript, which has no types to take out.
 */
import { readFile } from 'node:fs/promises'
import { type LoadHook, stripTypeScriptTypes } from 'node:module'

export const load: LoadHook = async (url, context, nextLoad) => {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context)
  return { format: 'module', shortCircuit: true, source: stripTypeScriptTypes(await readFile(new URL(url), 'utf8')) }
}
