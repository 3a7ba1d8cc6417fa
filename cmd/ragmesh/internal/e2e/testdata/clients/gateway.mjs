// Uses the LLM gateway through the official OpenAI client and prints what it saw as JSON.
// node gateway.mjs SERVER KEY
import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(join(process.env.RAGMESH_CLIENTS, 'package.json'))
const OpenAI = require('openai')

const [server, apiKey] = process.argv.slice(2)
const client = new OpenAI({ baseURL: server + '/v1', apiKey, maxRetries: 0 })
const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'What does a replacement card cost?' }]

const models = []
for await (const m of await client.models.list()) models.push(m.id)
const whole = await client.chat.completions.create({ model: 'small', messages, temperature: 0, max_completion_tokens: 9 })
const stream = client.chat.completions.stream({ model: 'small', messages, stream_options: { include_usage: true } })
let chunks = 0
for await (const chunk of stream) if (chunk.choices[0]?.delta?.content) chunks++
const streamed = await stream.finalChatCompletion()

const refusal = async (call) => {
  try {
    await call()
  } catch (e) {
    return { type: e.constructor.name, status: e.status ?? 0, code: e.code ?? '', param: e.param ?? '' }
  }
}
const stranger = new OpenAI({ baseURL: server + '/v1', apiKey: apiKey + 'x', maxRetries: 0 })
const refused = [
  await refusal(() => client.chat.completions.create({ model: 'none', messages })),
  await refusal(() => stranger.chat.completions.create({ model: 'small', messages })),
  await refusal(() => client.chat.completions.create({ model: 'small', messages: [] })),
  await refusal(() => client.chat.completions.create({ model: 'failing', messages })),
]
const seen = (c) => ({ text: c.choices[0].message.content, finish: c.choices[0].finish_reason, tokens: c.usage.completion_tokens })
console.log(JSON.stringify({ models, whole: seen(whole), streamed: seen(streamed), chunks, refused }))
