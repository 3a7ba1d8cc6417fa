// Holds a conversation through the official OpenAI client and prints what it saw as JSON.
// node openai.mjs SERVER QUESTION FOLLOW_UP
import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(join(process.env.RAGMESH_CLIENTS, 'package.json'))
const OpenAI = require('openai')

const [server, question, followUp] = process.argv.slice(2)
const client = new OpenAI({ baseURL: server + '/v1', apiKey: process.env.RAGMESH_API_KEY ?? 'none', maxRetries: 0 })

const models = []
for await (const m of await client.models.list()) models.push(m.id)

const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: question }]
const whole = await client.chat.completions.create({ model: models[0], messages, temperature: 0 })
messages.push(whole.choices[0].message, { role: 'user', content: followUp })

const stream = client.chat.completions.stream({ model: models[0], messages, stream_options: { include_usage: true } })
let chunks = 0
for await (const chunk of stream) if (chunk.choices[0]?.delta?.content) chunks++
const streamed = await stream.finalChatCompletion()

let refused
try {
  await client.chat.completions.create({ model: 'no-such-model', messages })
} catch (e) {
  refused = { type: e.constructor.name, status: e.status, code: e.code, param: e.param }
}

const seen = (c) => ({ text: c.choices[0].message.content, finish: c.choices[0].finish_reason, annotations: c.choices[0].message.annotations, tokens: c.usage.total_tokens })
console.log(JSON.stringify({ models, whole: seen(whole), streamed: seen(streamed), chunks, refused }))
