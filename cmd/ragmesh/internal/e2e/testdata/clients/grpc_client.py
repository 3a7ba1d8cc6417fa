"""Holds a conversation through gRPC's own library for Python, with stubs generated from the contract, and prints what it saw as JSON.

python grpc_client.py SERVER QUESTION FOLLOW_UP; RAGMESH_PROTO is the contract's folder
"""

import glob
import json
import os
import sys
import tempfile

import grpc
import grpc_tools
from grpc_tools import protoc

proto = os.environ["RAGMESH_PROTO"]
stubs = tempfile.TemporaryDirectory()
files = [os.path.relpath(f, proto) for f in sorted(glob.glob(proto + "/ragmesh/**/*.proto", recursive=True))]
third_party = proto + "/third_party"
files += [os.path.relpath(f, third_party) for f in sorted(glob.glob(third_party + "/**/*.proto", recursive=True))]
if protoc.main(["protoc", "-I" + proto, "-I" + third_party, "-I" + os.path.join(os.path.dirname(grpc_tools.__file__), "_proto"), "--python_out=" + stubs.name, "--grpc_python_out=" + stubs.name, *files]) != 0:
    sys.exit("the contract does not compile")
sys.path.insert(0, stubs.name)

from ragmesh.dialog.v1 import dialog_pb2, dialog_pb2_grpc, turn_pb2  # noqa: E402

server, question, follow_up = sys.argv[1:]
channel = grpc.insecure_channel(server.removeprefix("http://"))
dialog = dialog_pb2_grpc.DialogServiceStub(channel)


def ask(text, session):
    seen = {"text": "", "outcome": "", "session": "", "chunks": 0, "citations": []}
    for event in dialog.Chat(dialog_pb2.ChatRequest(question=text, session_id=session), timeout=50):
        kind = event.WhichOneof("event")
        if kind == "started":
            seen["session"] = event.started.session_id
        elif kind == "delta":
            seen["text"] += event.delta.text
            seen["chunks"] += 1
        elif kind == "citation":
            seen["citations"].append({"uri": event.citation.source_uri, "quote": event.citation.quote})
        elif kind == "completed":
            seen["outcome"] = turn_pb2.Outcome.Name(event.completed.turn.outcome)
    return seen


first = ask(question, "")
second = ask(follow_up, first["session"])
try:
    dialog.GetTurn(dialog_pb2.GetTurnRequest(turn_id="no-such-turn"), timeout=50)
    refused = "OK"
except grpc.RpcError as e:
    refused = e.code().name.lower()
print(json.dumps({"turns": [first, second], "refused": refused}))
