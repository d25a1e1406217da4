// Which files of abstract-level's test folder were not used: the features that they test are not declared, or they
// test abstract-level itself.
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, relative, sep } from 'node:path'

/** abstract-level's `test` folder, with a slash behind it. */
export const folder = dirname(createRequire(import.meta.url).resolve('abstract-level/test')) + sep

/** Files of the folder that are not among the paths in `loaded`. */
export function skipped(loaded) {
  const used = new Set(loaded.map((path) => relative(folder, path)))
  const all = readdirSync(folder, { recursive: true }).map(String)
  return all.filter((path) => path.endsWith('.js') && !used.has(path)).sort()
}
