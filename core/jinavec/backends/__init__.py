"""Where full-width vectors come from, and the options of each backend."""

from jinavec.backends.local.options import LexicalOptions, OnnxOptions, StaticOptions, TorchOptions
from jinavec.backends.remote.options import ElasticsearchInferenceOptions, OllamaOptions, RemoteOptions

__all__ = [
    "ElasticsearchInferenceOptions",
    "LexicalOptions",
    "OnnxOptions",
    "OllamaOptions",
    "RemoteOptions",
    "StaticOptions",
    "TorchOptions",
]
