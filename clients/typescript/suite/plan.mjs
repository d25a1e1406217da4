// abstract-level's own test suite against this client: what is the same in Node.js and in a browser.

/**
 * Registers the suite's tests. Each database is a sub-database nobody used before, all on one connection.
 * `level`: this package; `suite`: `abstract-level/test`.
 */
export function plan({ level, suite, test, url, token }) {
  const { Client, CloudpalLevel } = level
  const client = new Client({ url, token, queue: 'none' })
  const run = crypto.randomUUID()
  let databases = 0
  const factory = (options) => new CloudpalLevel(client, { name: `suite/${run}/${databases++}`, ...options })
  suite({ test, factory })
  test.onFinish(() => client.close())
  demand(factory().supports)
}

/** A feature that is not declared is not tested, so what must be is checked here. */
function demand(supports) {
  const needed = ['has', 'implicitSnapshots', 'explicitSnapshots', 'createIfMissing', 'errorIfExists', 'permanence', 'seek', 'deferredOpen']
  const missing = needed.filter((name) => supports[name] !== true)
  if (missing.length > 0) throw new Error(`not declared as supported: ${missing.join(', ')}`)
}

/** Counts assertions; `done` gets the sums and the first failures when all tests are through. */
export function count(test, done) {
  const sums = { assertions: 0, passed: 0, failed: 0, failures: [] }
  const stream = test.createStream({ objectMode: true })
  let name = ''
  stream.on('data', (row) => {
    if (row.type === 'test') name = row.name
    if (row.type !== 'assert') return
    sums.assertions++
    if (row.ok) sums.passed++
    else sums.failed++
    if (!row.ok && sums.failures.length < 20) sums.failures.push(`${name}: ${row.name}: ${row.error?.message ?? ''}`)
  })
  stream.on('end', () => done(sums))
}
