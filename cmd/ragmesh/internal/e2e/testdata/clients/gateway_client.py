"""Uses the LLM gateway through the official OpenAI client and prints what it saw as JSON.

python gateway_client.py SERVER KEY
"""

import json
import sys

import openai

server, key = sys.argv[1:3]
client = openai.OpenAI(base_url=server + "/v1", api_key=key, max_retries=0)
messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What does a replacement card cost?"}]

models = [m.id for m in client.models.list()]
whole = client.chat.completions.create(model="small", messages=messages, temperature=0, max_completion_tokens=9)
chunks = 0
with client.chat.completions.stream(model="small", messages=messages, stream_options={"include_usage": True}) as stream:
    for event in stream:
        if event.type == "content.delta":
            chunks += 1
    streamed = stream.get_final_completion()


def refusal(client, **request):
    try:
        client.chat.completions.create(**request)
    except openai.APIStatusError as e:
        return {"type": type(e).__name__, "status": e.status_code, "code": e.code or "", "param": e.param or ""}
    return None


def seen(c):
    return {"text": c.choices[0].message.content, "finish": c.choices[0].finish_reason, "tokens": c.usage.completion_tokens}


stranger = openai.OpenAI(base_url=server + "/v1", api_key=key + "x", max_retries=0)
refused = [
    refusal(client, model="none", messages=messages),
    refusal(stranger, model="small", messages=messages),
    refusal(client, model="small", messages=[]),
    refusal(client, model="failing", messages=messages),
]
print(json.dumps({"models": models, "whole": seen(whole), "streamed": seen(streamed), "chunks": chunks, "refused": refused}))
