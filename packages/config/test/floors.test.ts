import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ENTRIES, FLOORS } from '../src/floors.ts'

type Exports = Readonly<Record<string, string | Readonly<Record<string, string>>>>

interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly exports?: Exports
  readonly publishConfig?: { readonly exports?: Exports }
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const root = new URL('../../../', import.meta.url)
const manifest = (folder: string): Manifest =>
  JSON.parse(readFileSync(new URL(`${folder}/package.json`, root), 'utf8')) as Manifest
const folders = ['packages', 'apps'].flatMap((group) =>
  readdirSync(new URL(group, root))
    .map((name) => `${group}/${name}`)
    .filter((folder) => existsSync(new URL(`${folder}/package.json`, root))),
)
const ours = new Set(FLOORS.map((floor) => floor.name))
const packageOf = (entry: string): string =>
  entry.startsWith('@') ? entry.split('/', 2).join('/') : (entry.split('/', 1)[0] ?? entry)

test('the table of floors has every package of the workspace, and no other', () => {
  expect(FLOORS.map((floor) => floor.folder).toSorted()).toEqual(folders.toSorted())
})

test('a package imports only what stands before it in the table, never from a higher floor', () => {
  for (const [index, { name, floor, may }] of FLOORS.entries()) {
    for (const entry of may) {
      const at = FLOORS.findIndex((other) => other.name === packageOf(entry))
      if (floor === null) continue
      expect(at, `${name}: ${entry}`).toBeGreaterThanOrEqual(0)
      expect(at, `${name}: ${entry}`).toBeLessThan(index)
      expect(FLOORS[at]?.floor, `${name}: ${entry}`).toBeLessThanOrEqual(floor)
    }
  }
})

test('the guest kernel never sees the hypervisor, nor the hypervisor the guest kernel', () => {
  const may = (name: string) => FLOORS.find((floor) => floor.name === name)?.may.map(packageOf)
  expect(may('@iospace/linux')).not.toContain('@iospace/hypervisor')
  expect(may('@iospace/hypervisor')).not.toContain('@iospace/linux')
})

describe.each(FLOORS)('$name', ({ name, folder, may }) => {
  const { dependencies = {}, devDependencies = {}, optionalDependencies = {}, ...rest } = manifest(folder)
  const all = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })

  test('stands in its folder', () => {
    expect(rest.name).toBe(name)
  })

  test('depends, for development too, only on what its floor may import', () => {
    const allowed = new Set([...may.map(packageOf), '@iospace/config'])
    const linked = all.map(([dependency]) => dependency).filter((dependency) => ours.has(dependency))
    expect(linked.filter((dependency) => !allowed.has(dependency))).toEqual([])
    expect(Object.keys(dependencies)).not.toContain('@iospace/config')
  })

  test('names its own kind by workspace:*, other libraries by one exact version or the catalog', () => {
    const wrong = all.filter(([dependency, range]) =>
      ours.has(dependency) ? range !== 'workspace:*' : !/^(catalog:|\d+\.\d+\.\d+)$/.test(range),
    )
    expect(wrong).toEqual([])
  })

  test('has the entries that the table can allow one by one', () => {
    const entries = ENTRIES[name]?.map((entry) => `./${entry}`)
    if (entries === undefined) return
    expect(Object.keys(rest.exports ?? {}).filter((key) => key !== './package.json')).toEqual(entries)
  })

  test('publishes the same entries, without the condition that leads to the sources', () => {
    if (rest.private) return
    const published = Object.entries(rest.exports ?? {}).map(([entry, target]) => {
      if (typeof target === 'string') return [entry, target]
      const { '@iospace/source': source, ...built } = target
      expect(Object.keys(built)).toEqual(['types', 'default'])
      expect(source).toMatch(/^\.\/src\/.*\.ts$/)
      return [entry, built]
    })
    expect(rest.publishConfig?.exports).toEqual(Object.fromEntries(published))
  })
})
