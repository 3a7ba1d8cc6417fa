"""Writes the small tokenizers in this folder, and what Hugging Face's tokenizers make of texts with them.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==6.33.5
    venv/bin/python reference.py                              # this folder's files
    venv/bin/python reference.py TOKENIZER.json TEXTS OUT     # OUT/{tokenizer.json,expected.jsonl} for RAGMESH_TOKENS; TEXTS has a text a line
"""

import json
import os
import random
import shutil
import sys
import tempfile

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = """
The refund takes five working days, and the fee of 12.50 euros is returned as well.
Which port does the gateway listen on, and who may call it without a token?
A passage that nobody can find is a passage that was never written.
Deleting a workspace removes its documents, its conversations and its members.
Replication keeps three copies; a node that comes back reads what it has missed.
Cafés, naïve façades and coöperation: accents are folded by some models and kept by others.
Version 2.4.1 was released on 21 November 2026 (see https://example.com/changes?v=2.4.1#fixes).
Photosynthesis converts light energy into chemical energy stored in carbohydrates.
The quick brown fox jumps over the lazy dog, again and again, until it is tired.
退款需要五个工作日，手续费十二元五角也会一并退还。
网关监听哪个端口？没有令牌的服务可以调用它吗？
删除工作区会同时删除其中的文档、对话和成员。
向量检索与关键词检索的结果按名次合并，再由重排模型打分。
集群由三个节点组成，重新加入的节点会读取它错过的内容。
混合语言的句子 like this one 也要切分正确，例如 Kubernetes 的 Pod 和 Service。
""".strip().splitlines()

ODD = [
    "", " ", "\n\t", "a", "Ünïcödé naïve café", "İstanbul ISTANBUL ß ẞ ŒUVRE", "ﬁ ﬂ ① ² ½ ™ ℃", "全角ＡＢＣ１２３，。！？「」", "混合 mixed 文本 text123中文abc",
    "𠀀𠀁𪜀", "👩‍👩‍👧‍👦 👍🏽 🇩🇪 ☺️", "zero\u200bwidth\ufeff joiner\u200d", "soft\u00adhyphen nbsp\u00a0x \u3000ideographic\u2003em", "a\x00b\x07c\x1bd\x7fe\x85f",
    "don't can't won't", "$1,234.56 -3.14e10 50% #tag @user", "x" * 150, "ab " * 100, "…—–“”‘’«»", "हिन्दी ไทย العربية ελληνικά русский", "한국어 ハンカク ﾊﾝｶｸ ｶﾞ",
    "e\u0301 o\u0308 n\u0303", "\u0130\u0131 ŉ ǅ", "▁▁a ▁b _c_", "##ab #hash", "\ufffd\ufffe\uffff \ue000 \u0378", "a\u2028b\u2029c", "  lead and trail  ", "\r\n\r\nline",
]


def expect(tokenizer, texts, pairs, path):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with open(path, "w") as out:
        def line(encoding, **what):
            out.write(json.dumps({**what, "ids": encoding.ids, "types": encoding.type_ids}, ensure_ascii=True) + "\n")

        for text, encoding in zip(texts, tokenizer.encode_batch(texts)):
            line(encoding, text=text)
        random.seed(2)
        for _ in range(pairs):
            text, pair, limit = random.choice(texts), random.choice(texts), random.choice([8, 16, 64, 128, 512])
            tokenizer.enable_truncation(limit)
            line(tokenizer.encode(text, pair), text=text, pair=pair, limit=limit)
            line(tokenizer.encode(text), text=text, limit=limit)
            tokenizer.no_truncation()


def word_piece(lower):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=None if lower else False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=500, min_frequency=1, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def unigram(folder, byte_fallback, old):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    with open(f"{folder}/train.txt", "w") as f:
        f.write("\n".join(SENTENCES))
    with open(f"{folder}/rules.tsv", "w") as f:  # a few of NFKC's rules: its whole table is a quarter of a megabyte
        for source, target in [("Ａ", "A"), ("Ｂ", "B"), ("Ｃ", "C"), ("１", "1"), ("ﬁ", "fi"), ("①", "1"), ("½", "1⁄2"), ("e\u0301", "é"), ("ｶﾞ", "ガ"), ("\u3000", " "),
                               ("\u00a0", " "), ("\t", " "), ("\n", " "), ("\u200b", " "), ("\x07", "")]:
            f.write(" ".join(f"{ord(c):04X}" for c in source) + "\t" + " ".join(f"{ord(c):04X}" for c in target) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=f"{folder}/train.txt", model_prefix=f"{folder}/m", vocab_size=560, hard_vocab_limit=False, model_type="unigram", byte_fallback=byte_fallback,
        normalization_rule_tsv=f"{folder}/rules.tsv", minloglevel=2)
    model = sentencepiece_model_pb2.ModelProto()
    with open(f"{folder}/m.model", "rb") as f:
        model.ParseFromString(f.read())
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + [(p.piece, p.score) for p in model.pieces[3:]]
    tokenizer = Tokenizer(models.Unigram(vocab, 3, byte_fallback))
    table = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    mark = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    if old:
        tokenizer.normalizer, tokenizer.pre_tokenizer = table, pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), mark])
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    else:
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Sequence([table, normalizers.Replace(Regex(" {2,}"), " ")]), mark
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tokenizer


def main():
    if len(sys.argv) == 4:
        tokenizer = Tokenizer.from_file(sys.argv[1])
        with open(sys.argv[2]) as f:
            texts = f.read().splitlines()
        os.makedirs(sys.argv[3], exist_ok=True)
        shutil.copy(sys.argv[1], f"{sys.argv[3]}/tokenizer.json")
        expect(tokenizer, texts, 2000, f"{sys.argv[3]}/expected.jsonl")
        return
    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as folder:
        for name, tokenizer in {
            "wordpiece": word_piece(True), "wordpiece-cased": word_piece(False),
            "unigram": unigram(folder, False, False), "unigram-old": unigram(folder, False, True), "unigram-bytes": unigram(folder, True, False),
        }.items():
            tokenizer.save(f"{here}/{name}.json", pretty=False)
            expect(Tokenizer.from_file(f"{here}/{name}.json"), SENTENCES + ODD, 15, f"{here}/{name}.jsonl")


main()
