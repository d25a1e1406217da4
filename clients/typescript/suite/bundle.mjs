// Bundles a script for a page. abstract-level's tests and tape expect a few of Node's modules, which have their
// well-known stand-ins for browsers.
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { folder } from './files.mjs'

const require = createRequire(import.meta.url)
const here = (name) => fileURLToPath(new URL(name, import.meta.url))

/** Notes in the page which of the suite's files run. */
const noting = {
  name: 'note which tests run',
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, async ({ path }) => {
      if (!path.startsWith(folder)) return undefined
      const note = `;(globalThis.loaded ??= []).push(${JSON.stringify(path)});`
      return { contents: note + await readFile(path, 'utf8'), loader: 'js' }
    })
  }
}

/** The text of one script. */
export async function bundle(entry) {
  const { outputFiles } = await build({
    entryPoints: [here(entry)],
    bundle: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    target: 'chrome110',
    define: { global: 'globalThis' },
    inject: [here('./globals.mjs')],
    alias: { stream: require.resolve('stream-browserify'), path: require.resolve('path-browserify') },
    plugins: [noting],
    logLevel: 'warning'
  })
  return outputFiles[0].text
}
