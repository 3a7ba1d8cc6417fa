"""What ONNX Runtime makes of a model folder: an independent implementation to compare ours with.

    pip install numpy onnx onnxruntime safetensors
    python reference.py FOLDER < tokens.json > results.json

Tokens are [{"ids": [...], "types": [...]}, ...], results [[...], ...]: vectors, pooled and normalised as the folder says, or logits.
The graph is what PyTorch exports of such a model.
"""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


def load(folder, name, otherwise=None):
    path = os.path.join(folder, name)
    return json.load(open(path)) if os.path.exists(path) else otherwise


def floats(folder):
    path = os.path.join(folder, "model.safetensors")
    try:
        return {k: v.astype(np.float32) for k, v in load_file(path).items()}
    except (TypeError, KeyError, ImportError):  # BF16, of which numpy knows nothing
        raw = open(path, "rb").read()
        n = int.from_bytes(raw[:8], "little")
        out = {}
        for name, t in json.loads(raw[8 : 8 + n]).items():
            a, b = t["data_offsets"]
            half = np.frombuffer(raw[8 + n + a : 8 + n + b], np.uint16).astype(np.uint32) << 16
            out[name] = half.view(np.float32).reshape(t["shape"])
        return out


class Graph:
    def __init__(self, folder):
        self.config = load(folder, "config.json")
        self.tensors = floats(folder)
        self.nodes, self.constants, self.count = [], {}, 0
        family = "bert" if self.config["model_type"] == "bert" else "roberta"
        self.prefix = family + "." if family + ".embeddings.word_embeddings.weight" in self.tensors else ""

    def constant(self, value, name=None):
        name = name or "c%d" % len(self.constants)
        self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def op(self, kind, *inputs, **attributes):
        self.count += 1
        out = "t%d" % self.count
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def weight(self, name, transposed=False):
        value = self.tensors[name]
        return self.constant(value.T if transposed else value, name)

    def linear(self, x, name):
        return self.op("Add", self.op("MatMul", x, self.weight(name + ".weight", True)), self.weight(name + ".bias"))

    def norm(self, x, name):
        return self.op("LayerNormalization", x, self.weight(name + ".weight"), self.weight(name + ".bias"), axis=-1, epsilon=self.config["layer_norm_eps"])

    def gelu(self, x):
        half = self.op("Add", self.op("Erf", self.op("Div", x, self.constant(np.float32(np.sqrt(2))))), self.constant(np.float32(1)))
        return self.op("Mul", self.op("Mul", x, half), self.constant(np.float32(0.5)))

    def heads(self, x, to):
        n = self.config["num_attention_heads"]
        split = self.op("Reshape", x, self.constant(np.array([0, 0, n, self.config["hidden_size"] // n], np.int64)))
        return self.op("Transpose", split, perm=to)

    def layer(self, x, mask, name):
        own = name + "attention.self."
        q, k, v = (self.linear(x, own + part) for part in ("query", "key", "value"))
        scores = self.op("MatMul", self.heads(q, [0, 2, 1, 3]), self.heads(k, [0, 2, 3, 1]))
        root = np.float32(np.sqrt(self.config["hidden_size"] // self.config["num_attention_heads"]))
        weights = self.op("Softmax", self.op("Add", self.op("Div", scores, self.constant(root)), mask), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", weights, self.heads(v, [0, 2, 1, 3])), perm=[0, 2, 1, 3])
        mixed = self.op("Reshape", mixed, self.constant(np.array([0, 0, self.config["hidden_size"]], np.int64)))
        x = self.norm(self.op("Add", self.linear(mixed, name + "attention.output.dense"), x), name + "attention.output.LayerNorm")
        wide = self.gelu(self.linear(x, name + "intermediate.dense"))
        return self.norm(self.op("Add", self.linear(wide, name + "output.dense"), x), name + "output.LayerNorm")

    def build(self):
        p, c = self.prefix, self.config
        offset = 0 if c["model_type"] == "bert" else c["pad_token_id"] + 1
        positions = self.constant(self.tensors[p + "embeddings.position_embeddings.weight"][offset:])
        length = self.op("Slice", self.op("Shape", "input_ids"), self.constant(np.array([1])), self.constant(np.array([2])))
        x = self.op("Add", self.op("Gather", self.weight(p + "embeddings.word_embeddings.weight"), "input_ids"),
                    self.op("Gather", self.weight(p + "embeddings.token_type_embeddings.weight"), "token_type_ids"))
        x = self.op("Add", x, self.op("Slice", positions, self.constant(np.array([0])), length))
        x = self.norm(x, p + "embeddings.LayerNorm")
        mask = self.op("Unsqueeze", self.op("Cast", "attention_mask", to=TensorProto.FLOAT), self.constant(np.array([1, 2])))
        mask = self.op("Mul", self.op("Sub", self.constant(np.float32(1)), mask), self.constant(np.float32(np.finfo(np.float32).min)))
        for i in range(c["num_hidden_layers"]):
            x = self.layer(x, mask, "%sencoder.layer.%d." % (p, i))
        if any(a.endswith("ForSequenceClassification") for a in c["architectures"]):
            first = self.op("Gather", x, self.constant(np.array(0)), axis=1)
            if c["model_type"] == "bert":
                x = self.linear(self.op("Tanh", self.linear(first, p + "pooler.dense")), "classifier")
            else:
                x = self.linear(self.op("Tanh", self.linear(first, "classifier.dense")), "classifier.out_proj")
        inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "length"]) for n in ("input_ids", "attention_mask", "token_type_ids")]
        graph = helper.make_graph(self.nodes, "model", inputs, [helper.make_tensor_value_info(x, TensorProto.FLOAT, None)], list(self.constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session(folder, threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(Graph(folder).build().SerializeToString(), options, providers=["CPUExecutionProvider"])


def feed(rows):
    """Pads rows of ids and types to one length."""
    length = max(len(r["ids"]) for r in rows)
    ids, mask, types = (np.zeros((len(rows), length), np.int64) for _ in range(3))
    for i, r in enumerate(rows):
        n = len(r["ids"])
        ids[i, :n], mask[i, :n] = r["ids"], 1
        if r.get("types"):
            types[i, :n] = r["types"]
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def pool(folder, hidden, mask):
    pooling = load(folder, "1_Pooling/config.json", {"pooling_mode_mean_tokens": True})
    if pooling.get("pooling_mode_cls_token"):
        out = hidden[:, 0]
    else:
        out = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    if any(m["type"].endswith("Normalize") for m in load(folder, "modules.json", [])):
        out = out / np.linalg.norm(out, axis=1, keepdims=True)
    return out


def main():
    folder, rows = sys.argv[1], json.load(sys.stdin)
    run = session(folder)
    reranker = any(a.endswith("ForSequenceClassification") for a in load(folder, "config.json")["architectures"])
    results = []
    for row in rows:
        tensors = feed([row])
        out = run.run(None, tensors)[0]
        if not reranker:
            out = pool(folder, out.astype(np.float64), tensors["attention_mask"])
        results.append([float(np.float32(v)) for v in out[0]])
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
