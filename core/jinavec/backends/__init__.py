"""Where full-width vectors come from, the options of each backend, and what was proved of one."""

from jinavec.backends.local.options import LexicalOptions, OnnxOptions, StaticOptions, TorchOptions
from jinavec.backends.remote.options import ElasticsearchInferenceOptions, OllamaOptions, RemoteOptions
from jinavec.backends.verification import Verification

__all__ = [
    "ElasticsearchInferenceOptions",
    "LexicalOptions",
    "OllamaOptions",
    "OnnxOptions",
    "RemoteOptions",
    "StaticOptions",
    "TorchOptions",
    "Verification",
]
