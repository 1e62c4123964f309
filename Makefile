# Every target does its own set-up: Python 3.11 or later and make are all it needs.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
EXTRAS := static,onnx,remote,elasticsearch,server,parquet,zstd,text

.PHONY: demo test test-torch torture-server check wheel readme clean

demo: $(VENV)/.demo  ## index Python's own documentation and answer questions about it; ARGS="--to DIR --model NAME"
	$(BIN)/python examples/python_docs/demo.py $(ARGS)

test: $(VENV)/.test  ## the offline tests
	$(BIN)/python -m pytest -n 2 -m "not torch and not weights and not readme and not torture" $(ARGS)

test-torch: $(VENV)/.torch  ## the tests that need torch (4.6 GB)
	$(BIN)/python -m pytest -m torch $(ARGS)

torture-server: $(VENV)/.test  ## five minutes of twice the load the server can bear, and 10,000 bad requests to each protocol
	JINAVEC_TORTURE=$(or $(SECONDS),300) JINAVEC_FUZZ=$(or $(FUZZ),10000) $(BIN)/python -m pytest \
		tests/adapters/server/test_process.py tests/adapters/server/test_fuzz.py $(ARGS)

check: $(VENV)/.check  ## lint, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

wheel: $(VENV)/.check  ## build the wheel, install it in a clean environment, import every subpackage there
	rm -rf dist && $(BIN)/uv build --quiet --wheel
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python dist/clean
	$(BIN)/uv pip install --quiet --python dist/clean/bin/python dist/*.whl
	cd dist && clean/bin/python ../tests/import_everything.py && clean/bin/jinavec models

readme: $(VENV)/.test  ## run every command of the README in a clean environment
	$(BIN)/python -m pytest -m readme $(ARGS)

clean:
	rm -rf $(VENV) dist

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "jinavec needs Python 3.11 or later; none was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo: $(BIN)/uv pyproject.toml
	$(INSTALL) -e ".[static]"
	@touch $@

$(VENV)/.test: $(BIN)/uv pyproject.toml
	$(INSTALL) -e ".[$(EXTRAS)]" --group test --group server
	@touch $@

$(VENV)/.torch: $(BIN)/uv pyproject.toml
	$(INSTALL) -e ".[$(EXTRAS),export]" --group test --group torch
	@touch $@

$(VENV)/.check: $(BIN)/uv pyproject.toml
	$(INSTALL) -e ".[$(EXTRAS)]" --group dev
	@touch $@
