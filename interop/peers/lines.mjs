// The way a peer is told what to do: one JSON command a line on standard input, one JSON answer a line on
// standard output, in the same order. `ours` (src/peer/) speaks the same, so that the driver need not know
// which of them it drives.
import readline from 'node:readline'

/** Answers commands until standard input ends; `{ do: 'name', ... }` calls `commands.name`. */
export async function serve(commands) {
  // A rejected promise deep inside a stream must show as a failed case, not end the process silently.
  process.on('unhandledRejection', (error) => console.error('unhandled rejection:', error))
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, do: name, ...args } = JSON.parse(line)
    let answer
    try {
      if (!Object.hasOwn(commands, name)) throw new Error(`no command ${name}`)
      answer = { id, ok: true, ...(await commands[name](args)) }
    } catch (error) {
      answer = { id, ok: false, error: `${name}: ${error.stack || error}` }
    }
    process.stdout.write(JSON.stringify(answer) + '\n')
  }
  process.exit(0)
}
