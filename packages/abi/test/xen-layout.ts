import { readFileSync } from 'node:fs'

/** One field as the C compiler placed it. Fields of anonymous members have dotted names. */
export interface XenField {
  readonly offset: number
  readonly size: number
  readonly type: string
}

/**
 * Sizes, offsets and constants that a C compiler reported for Xen 4.17's public headers, 64-bit guest. Nothing here
 * came from our code.
 */
export interface XenLayout {
  readonly about: { readonly headers: string; readonly abi: string }
  readonly constants: Readonly<Record<string, number | string>>
  readonly structs: Readonly<
    Record<string, { readonly size: number; readonly fields: Readonly<Record<string, XenField>> }>
  >
}

export const xen: XenLayout = JSON.parse(
  readFileSync(new URL('data/xen-layout.json', import.meta.url), 'utf8'),
) as XenLayout

/**
 * Where a field of ours, by dotted path, lies in Xen's struct: nested structs are looked up by their type. `undefined`
 * when Xen has none.
 */
export function xenField(struct: string, path: string): XenField | undefined {
  const fields = xen.structs[struct]?.fields
  if (fields === undefined) return undefined
  if (fields[path] !== undefined) return fields[path]
  for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) {
    const outer = fields[path.slice(0, dot)]
    if (outer === undefined) continue
    const inner = xenField(outer.type.replace(/^struct /, '').replace(/_t$/, ''), path.slice(dot + 1))
    if (inner !== undefined) return { ...inner, offset: outer.offset + inner.offset }
  }
  return undefined
}
