// @tus/server with its file store, under the names that piton gives to its options.
import {FileStore} from '@tus/file-store'
import {Server} from '@tus/server'

const UNITS = {ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000}

function misused(reason) {
  console.error(`error: ${reason}`)
  process.exit(2)
}

function milliseconds(text) {
  const [, count, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(text) ?? misused(`${text} is no time`)
  return Number(count) * UNITS[unit]
}

function bytes(text) {
  return /^\d+$/.test(text) ? Number(text) : misused(`${text} is no number of bytes`)
}

// Node 20 itself throws this out of a microtask when a client leaves in the middle of a body, which
// ends the process. A process manager would start it again; here it goes on, so that one row does
// not cost all that follow.
process.on('uncaughtException', (error) => {
  console.error(error)
  if (error.code !== 'ERR_INVALID_STATE') process.exit(1)
})

if (process.argv[2] === '--version') {
  const {default: about} = await import('./package.json', {with: {type: 'json'}})
  console.log(`@tus/server ${about.dependencies['@tus/server']}`)
  process.exit(0)
}

// `--name=value` and `--name value`.
const options = {listen: '127.0.0.1:0', 'data-dir': './data', 'expire-after': '24h'}
const known = new Set([...Object.keys(options), 'max-size'])
const words = process.argv.slice(2).flatMap((word) => {
  const at = word.startsWith('--') ? word.indexOf('=') : -1
  return at < 0 ? [word] : [word.slice(0, at), word.slice(at + 1)]
})
while (words.length > 0) {
  const [name, value] = words.splice(0, 2)
  if (!name.startsWith('--') || !known.has(name.slice(2))) misused(`${name} is not known`)
  if (value === undefined) misused(`${name} needs a value`)
  options[name.slice(2)] = value
}

const at = options.listen.lastIndexOf(':')
const [host, port] = [options.listen.slice(0, at), Number(options.listen.slice(at + 1))]
const server = new Server({
  path: '/files',
  datastore: new FileStore({
    directory: options['data-dir'],
    expirationPeriodInMilliseconds: milliseconds(options['expire-after']),
  }),
  ...(options['max-size'] ? {maxSize: bytes(options['max-size'])} : {}),
})
const listening = server.listen(port, host, () => {
  console.log(`@tus/server listening on http://${host}:${listening.address().port}/files/`)
})
