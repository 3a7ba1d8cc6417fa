"""Holds a conversation through the official OpenAI client and prints what it saw as JSON.

python openai_client.py SERVER QUESTION FOLLOW_UP
"""

import json
import os
import sys

import openai

server, question, follow_up = sys.argv[1:]
client = openai.OpenAI(base_url=server + "/v1", api_key=os.environ.get("RAGMESH_API_KEY", "none"), max_retries=0)

models = [m.id for m in client.models.list()]
messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
whole = client.chat.completions.create(model=models[0], messages=messages, temperature=0)
messages += [whole.choices[0].message, {"role": "user", "content": follow_up}]

chunks = 0
annotations = []
with client.chat.completions.stream(model=models[0], messages=messages, stream_options={"include_usage": True}) as stream:
    for event in stream:
        if event.type == "content.delta":
            chunks += 1
        elif event.type == "chunk" and event.chunk.choices:
            annotations += getattr(event.chunk.choices[0].delta, "annotations", None) or []
    streamed = stream.get_final_completion()

refused = None
try:
    client.chat.completions.create(model="no-such-model", messages=messages)
except openai.APIStatusError as e:
    refused = {"type": type(e).__name__, "status": e.status_code, "code": e.code, "param": e.param}


def seen(c, annotations):
    return {
        "text": c.choices[0].message.content,
        "finish": c.choices[0].finish_reason,
        "annotations": annotations,
        "tokens": c.usage.total_tokens,
    }


print(json.dumps({
    "models": models,
    "whole": seen(whole, [a.model_dump() for a in whole.choices[0].message.annotations]),
    "streamed": seen(streamed, annotations),
    "chunks": chunks,
    "refused": refused,
}))
