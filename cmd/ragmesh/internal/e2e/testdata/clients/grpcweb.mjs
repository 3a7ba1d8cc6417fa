// Holds a conversation in gRPC-Web, as a browser would, and prints what it saw as JSON. The contract comes as a set of descriptors.
// node grpcweb.mjs SERVER QUESTION FOLLOW_UP; RAGMESH_DESCRIPTORS is the set's file
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const require = createRequire(join(process.env.RAGMESH_CLIENTS, 'package.json'))
const { createFileRegistry, fromBinary } = require('@bufbuild/protobuf')
const { FileDescriptorSetSchema } = require('@bufbuild/protobuf/wkt')
const { Code, ConnectError, createClient } = require('@connectrpc/connect')
const { createGrpcWebTransport } = require('@connectrpc/connect-web')

const [server, question, followUp] = process.argv.slice(2)
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(process.env.RAGMESH_DESCRIPTORS)))
const outcomes = registry.getEnum('ragmesh.dialog.v1.Outcome').value
const dialog = createClient(registry.getService('ragmesh.dialog.v1.DialogService'), createGrpcWebTransport({ baseUrl: server }))

async function ask(text, session) {
  const seen = { text: '', outcome: '', session: '', chunks: 0, citations: [] }
  for await (const { event } of dialog.chat({ question: text, sessionId: session }, { timeoutMs: 50_000 })) {
    if (event.case === 'started') seen.session = event.value.sessionId
    if (event.case === 'delta') (seen.text += event.value.text), seen.chunks++
    if (event.case === 'citation') seen.citations.push({ uri: event.value.sourceUri, quote: event.value.quote })
    if (event.case === 'completed') seen.outcome = outcomes[event.value.turn.outcome].name
  }
  return seen
}

const first = await ask(question, '')
const second = await ask(followUp, first.session)
let refused = 'ok'
try {
  await dialog.getTurn({ turnId: 'no-such-turn' })
} catch (e) {
  refused = Code[ConnectError.from(e).code].replace(/[A-Z]/g, (c, i) => (i ? '_' : '') + c.toLowerCase())
}
console.log(JSON.stringify({ turns: [first, second], refused }))
