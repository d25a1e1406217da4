// The suite in Chromium. Reads URL, TOKEN and CHROMIUM from the environment, prints one JSON object.
import { withBrowser } from './browser.mjs'
import { bundle } from './bundle.mjs'
import { skipped } from './files.mjs'

const { URL: url, TOKEN: token, CHROMIUM: program } = process.env
const script = await bundle('./page.mjs')

const { loaded, ...sums } = await withBrowser(program, async (open) => {
  let report
  const reported = new Promise((resolve) => { report = resolve })
  await open({ report: (sums) => report(sums) }, { url, token }, script)
  return reported
})
process.stdout.write(`${JSON.stringify({ ...sums, skipped_files: skipped(loaded) })}\n`)
process.exitCode = sums.failed === 0 && sums.assertions > 0 ? 0 : 1
