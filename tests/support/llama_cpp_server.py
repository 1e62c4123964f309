"""llama.cpp's own server, from the package xllamacpp, in a process of its own; run by ``tests/support/llama_cpp.py``.

It takes the options of llama-server, writes the GGUF file of a folder of weights first, prints its address, and serves
until its standard input ends.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

PRE_TOKENIZERS = {"qwen3": "qwen2", "eurobert": "llama-bpe"}


def write_gguf(folder: Path, file: Path) -> None:
    """Write Qwen3 or EuroBERT as llama.cpp's converter does, but without pooling: that is the server's option."""
    gguf: Any = importlib.import_module("gguf")
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    kind, layers = config["model_type"], config["num_hidden_layers"]
    writer = gguf.GGUFWriter(file, kind)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    width = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_causal_attention(kind == "qwen3")
    _write_tokenizer(gguf, writer, config, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[kind.upper()], layers)
    load: Any = importlib.import_module("safetensors.numpy").load_file
    for name, tensor in load(folder / "model.safetensors").items():
        stem, _, suffix = f"model.{name}".rpartition(".")
        writer.add_tensor(f"{names.get_name(stem)}.{suffix}", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_tokenizer(gguf: Any, writer: Any, config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    specials = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = {number: text for text, number in (tokenizer["model"]["vocab"] | specials).items()}
    types = gguf.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZERS[config["model_type"]])
    writer.add_token_list([tokens[number] for number in range(len(tokens))])
    writer.add_token_types([types.CONTROL if tokens[n] in specials else types.NORMAL for n in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token("TemplateProcessing" in json.dumps(tokenizer["post_processor"]))


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the options of llama-server that start an embedding server; any other one is an error."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--weights", help="a folder, from which the model is written first")
    parser.add_argument("--embedding", "--embeddings", action="store_true")
    parser.add_argument("--pooling", choices=["none", "mean", "cls", "last"])
    parser.add_argument("-b", "--batch-size", type=int)
    parser.add_argument("-ub", "--ubatch-size", type=int)
    parser.add_argument("-c", "--ctx-size", type=int)
    parser.add_argument("-np", "--parallel", type=int)
    parser.add_argument("--port", type=int, default=0)
    return parser.parse_args(arguments)


def serve(options: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    llama: Any = importlib.import_module("xllamacpp")
    if options.weights:
        write_gguf(Path(options.weights), Path(options.model))
    parameters = llama.CommonParams()
    parameters.model.path = options.model
    parameters.embedding = options.embedding
    parameters.hostnames, parameters.port = ["127.0.0.1"], options.port
    if options.pooling:
        parameters.pooling_type = getattr(llama.llama_pooling_type, f"LLAMA_POOLING_TYPE_{options.pooling.upper()}")
    numbers = {"n_batch": options.batch_size, "n_ubatch": options.ubatch_size}
    numbers |= {"n_ctx": options.ctx_size, "n_parallel": options.parallel}
    for name, value in numbers.items():
        if value is not None:
            setattr(parameters, name, value)
    server = llama.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    serve(read_options(sys.argv[1:]))
