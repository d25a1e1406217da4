// The suite in Node.js. Reads URL and TOKEN from the environment, prints one JSON object.
import { createRequire } from 'node:module'
import { count, plan } from './plan.mjs'
import { folder, skipped } from './files.mjs'
import * as level from '../dist/src/index.js'

const require = createRequire(import.meta.url)
const test = require('tape')
const { URL: url, TOKEN: token } = process.env

count(test, (sums) => {
  const loaded = Object.keys(require.cache).filter((path) => path.startsWith(folder))
  process.stdout.write(`${JSON.stringify({ ...sums, skipped_files: skipped(loaded) })}\n`)
  process.exitCode = sums.failed === 0 && sums.assertions > 0 ? 0 : 1
})
plan({ level, suite: require('abstract-level/test'), test, url, token })
