# The commands. CI runs the same ones as people do, and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash -euo pipefail

# The first of these that is between 3.10 and 3.13 makes the environment.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup lab tutorial test lint bench bench-compare claims cluster-up cluster-images record cluster-down test-cluster strip lock clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv (the other commands do it when it is due)

# uv comes first, from pip, since it installs these 2.5 GB several times faster. Byte code is
# compiled here, once: importing TensorFlow takes 4 s with it and 11 s without.
$(READY): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
	  echo "setup: no Python between 3.10 and 3.13 on PATH. Install one, or name it: make setup PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "setup: $(PYTHON) can't make an environment with pip in it. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: an environment in $(VENV) with $$($(PYTHON) --version): 1 to 5 minutes, most of it to fetch TensorFlow (600 MB)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync --python $(BIN)/python --compile-bytecode --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)
	@echo "setup: done. Next: make lab (step by step) or make tutorial (all of it, unattended)"

lab: $(READY) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

tutorial: $(READY) ## run all notebooks and make one page of them (NOTEBOOKS="01 02" runs some)
	@$(BIN)/python -m helpers.book.tutorial

test: $(READY) ## run the tests: in two processes, then what needs the machine to itself
	@status=0; \
	  $(BIN)/python -m pytest -m "not alone" --numprocesses=2 --dist=loadscope --no-loadscope-reorder || status=$$?; \
	  $(BIN)/python -m pytest -m alone || status=$$?; \
	  exit $$status

lint: $(READY) ## check how code and notebooks read, and their types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## measure this machine; results go to benchmarks/results/
	$(BIN)/python -m benchmarks

bench-compare: $(READY) ## compare two results: make bench-compare A=old.json B=new.json
	$(BIN)/python -m benchmarks.compare $(A) $(B)

claims: $(READY) ## run the notebooks quiet and beside busy loops, and list how often each claim held (an hour)
	@$(BIN)/python -m helpers.book.claims

cluster-up: ## start a Kubernetes of two nodes (by Docker and kind; without them as root, on Linux with Go)
	@config=$$(tests/cluster/up); context=$$(awk '/^current-context:/ {print $$2}' "$$config"); \
	  echo "cluster-up: it is up. To use it: export KUBECONFIG=$$config TUTORIAL_CONTEXT=$$context"; \
	  echo "cluster-up: next: make cluster-images, for the notebooks; or make test-cluster; in the end make cluster-down"

cluster-images: $(READY) ## build the images that the notebooks deploy, and put them on its nodes, after cluster-up
	@tests/cluster/put-images
	@echo "cluster-images: they are on the nodes, with the light network. Next: TARGET=kubernetes NETWORK=light make tutorial"

# With the engine that is there, or one of our own for as long as it takes.
record: $(READY) ## record what cells that need a cluster or an engine show, after cluster-images (NOTEBOOKS="04")
	@if ! DOCKER_HOST=$$(tests/cluster/engine find); then \
	  trap 'tests/cluster/engine stop' EXIT; trap 'exit 130' INT TERM; DOCKER_HOST=$$(tests/cluster/engine start); fi; \
	export DOCKER_HOST; $(BIN)/python -m helpers.book.record

test-cluster: $(READY) ## run the tests that need a cluster and a container engine, after cluster-up
	@tests/cluster/run-tests

cluster-down: ## remove that Kubernetes, and the container engine if ours (what was built stays in ~/.cache)
	@tests/cluster/down
	@tests/cluster/engine stop
	@echo "cluster-down: nothing of it is left"

strip: $(READY) ## remove the outputs from the notebooks before a commit
	$(BIN)/python -m helpers.book.tutorial --strip

lock: $(READY) ## write the locks anew, from pyproject.toml and serving/model-server.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --group dev pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --constraint requirements.lock serving/model-server.in --output-file serving/model-server.lock

clean: ## remove what the commands made (not the environment)
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
