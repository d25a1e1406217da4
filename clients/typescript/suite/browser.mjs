// A headless Chromium and pages in it that run scripts of ours.
import { createServer } from 'node:http'
import puppeteer from 'puppeteer-core'

/**
 * Starts Chromium, calls `work` with something that opens pages, and ends both. Pages come from an address on the
 * loopback: only a page with an origin has an IndexedDB.
 */
export async function withBrowser(program, work) {
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><meta charset="utf-8"><title>cloudpal-level</title>')
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = `http://127.0.0.1:${server.address().port}/`
  // Chromium's own walls need a user that is not root; what runs here is ours.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  const browser = await puppeteer.launch({ executablePath: program, headless: true, pipe: true, args })
  try {
    return await work((functions, settings, script) => open(browser, address, functions, settings, script))
  } finally {
    await browser.close()
    server.close()
  }
}

/** A page with functions and settings in it, in which a script runs. What it says goes to standard error. */
async function open(browser, address, functions, settings, script) {
  const page = await browser.newPage()
  page.on('pageerror', (error) => process.stderr.write(`page: ${error}\n`))
  page.on('console', (message) => {
    if (['error', 'warn'].includes(message.type())) process.stderr.write(`page: ${message.text()}\n`)
  })
  for (const [name, call] of Object.entries(functions)) await page.exposeFunction(name, call)
  await page.goto(address)
  await page.evaluate((settings) => { globalThis.settings = settings }, settings)
  await page.addScriptTag({ content: script })
  return page
}
