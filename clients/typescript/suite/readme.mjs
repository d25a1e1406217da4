// Runs the examples of the README, each as a program of its own. Reads URL and TOKEN from the environment.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const { URL: url, TOKEN: token } = process.env
const folder = fileURLToPath(new URL('..', import.meta.url))
const text = await readFile(`${folder}README.md`, 'utf8')
const examples = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, example]) => example)
if (examples.length === 0) throw new Error('the README has no examples')

for (const example of examples) {
  const program = example
    .replaceAll('http://127.0.0.1:7700/v1/databases/home', url)
    .replaceAll('token: TOKEN', `token: ${JSON.stringify(token)}`)
  const run = promisify(execFile)
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], { cwd: folder, timeout: 60000 })
  process.stderr.write(stdout)
}
process.stdout.write(`${JSON.stringify({ examples: examples.length })}\n`)
