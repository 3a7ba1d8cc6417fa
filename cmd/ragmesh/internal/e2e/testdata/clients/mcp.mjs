// Holds a conversation through the official Model Context Protocol client and prints what it saw as JSON.
// node mcp.mjs SERVER QUESTION FOLLOW_UP
import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(join(process.env.RAGMESH_CLIENTS, 'package.json'))
const { Client } = require('@modelcontextprotocol/sdk/client/index.js')
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js')

const [server, question, followUp] = process.argv.slice(2)
const client = new Client({ name: 'test', version: '1' })
await client.connect(new StreamableHTTPClientTransport(new URL(server + '/mcp')))

const tools = (await client.listTools()).tools.map((t) => t.name)
const first = (await client.callTool({ name: 'ask', arguments: { question } })).structuredContent
const second = (await client.callTool({ name: 'ask', arguments: { question: followUp, session_id: first.session_id } })).structuredContent
const found = (await client.callTool({ name: 'search', arguments: { query: question } })).structuredContent.passages[0]
const read = (await client.callTool({ name: 'read_document', arguments: { document_id: found.document_id, start: found.start, end: found.end } })).structuredContent
const { resources } = await client.listResources()
const resource = await client.readResource({ uri: resources.find((r) => r.uri.endsWith(found.document_id)).uri })
await client.close()

console.log(JSON.stringify({
  tools, first, second, found, read: read.text, resources: resources.map((r) => r.name).sort(), resource: resource.contents[0].text,
}))
