"""Right answers on real text that every Python carries: the docstrings of its own standard library.

The numbers on a public benchmark are in benchmarks/README.md; its texts are not part of this repository.
"""

from __future__ import annotations

import importlib
import inspect
from functools import cache

import numpy as np
import pytest

from jinavec import Encoder
from jinavec.extras import installed
from jinavec.vectors import asymmetric, binarize

MODULES = (
    "bisect calendar copy csv difflib fnmatch functools getpass glob heapq html json math mimetypes os.path pprint"
    " random secrets shlex shutil statistics stat struct tempfile textwrap time uuid webbrowser zipfile zlib"
).split()
QUESTIONS = {
    "wordllama-256": {
        "strip shared indentation from a block of text": "textwrap.dedent",
        "show a page in the browser": "webbrowser.open webbrowser.open_new webbrowser.open_new_tab",
        "is it a leap year?": "calendar.isleap",
        "greatest common divisor": "math.gcd",
        "pause for some seconds": "time.sleep",
        "free space left on the disk": "shutil.disk_usage",
        "shuffle a list": "random.shuffle",
        "break long text into lines": "textwrap.wrap textwrap.fill",
        "random element of a sequence": "random.choice secrets.choice",
        "secure random token in hexadecimal": "secrets.token_hex",
        "square root of an integer": "math.isqrt math.sqrt",
        "parse a JSON document": "json.loads json.load",
        "smallest element of a heap": "heapq.heappop heapq.nsmallest",
        "last modification of a file": "os.path.getmtime",
    },
    "lexical": {
        "arithmetic mean of the data": "statistics.mean statistics.fmean",
        "remove leading whitespace from every line": "textwrap.dedent",
        "prompt for a password": "getpass.getpass",
        "return a list of close matches": "difflib.get_close_matches",
        "leap years": "calendar.isleap calendar.leapdays",
        "greatest common divisors": "math.gcd",
        "shell-escaped strings": "shlex.quote shlex.join",
        "pause for some seconds": "time.sleep",
        "disk usage statistics": "shutil.disk_usage",
        "square roots of integers": "math.isqrt math.sqrt",
        "parse a JSON document": "json.loads json.load",
        "the last modification of a file": "os.path.getmtime",
        "pathnames that match a pattern": "glob.glob glob.iglob",
    },
}


@cache
def docstrings() -> dict[str, str]:
    """Return the docstrings of the modules' functions by their names."""
    found: dict[str, str] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for function in filter(str.islower, vars(module)):
            value = getattr(module, function)
            if inspect.isroutine(value) and not function.startswith("_") and (text := inspect.getdoc(value)):
                found[f"{name}.{function}"] = text
    return found


@pytest.fixture(scope="module", params=["wordllama-256", "lexical"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    if request.param == "wordllama-256" and not installed("wordllama"):
        pytest.skip("needs the extra static")
    return Encoder.load(request.param)


@pytest.mark.parametrize("scoring", ["float", "query against bits"])
def test_right_answers_come_first(encoder: Encoder, scoring: str) -> None:
    names, texts = np.array(list(docstrings())), list(docstrings().values())
    assert len(names) > 200
    documents = encoder.encode_documents(texts)
    firsts = 0
    for question, right in QUESTIONS[encoder.profile.name].items():
        query = encoder.encode_queries([question])[0]
        scores = documents @ query if scoring == "float" else asymmetric(query, binarize(documents))
        ranking: list[str] = names[np.argsort(-scores)].tolist()
        rank = min(map(ranking.index, right.split()))
        assert rank < (3 if scoring == "float" else 5), f"{question}: {ranking[:5]}"
        firsts += rank == 0
    assert firsts >= 0.75 * len(QUESTIONS[encoder.profile.name])
