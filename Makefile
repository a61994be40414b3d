# The commands. CI runs the same ones as people do, and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash -euo pipefail

UV_VERSION := 0.13.9
VENV := .venv
# An activated conda environment that environment.yml made is used as it is.
CONDA := $(if $(CONDA_PREFIX),$(wildcard $(CONDA_PREFIX)/lib/python3*/site-packages/inception_serving_tutorial-*))
BIN := $(if $(CONDA),$(CONDA_PREFIX),$(VENV))/bin
UV := $(BIN)/python setup/uv.py
READY := $(if $(CONDA),.conda-is-used,$(VENV)/.ready)

.PHONY: .conda-is-used help setup lab tutorial test lint bench bench-compare claims cluster-up cluster-images record cluster-down test-cluster strip lock clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv (the other commands do it when it is due)

$(VENV)/.ready: requirements.lock pyproject.toml
	@setup/environment $(VENV) $(UV_VERSION) $(PYTHON)
	@touch $@
	@echo "setup: done. Next: make lab (step by step) or make tutorial (all of it, unattended)"

.conda-is-used:
	@echo "setup: using the conda environment $(CONDA_PREFIX); no .venv is made"

lab: $(READY) ## open JupyterLab, on copies in lab/ (LAB="--no-browser --port 9999" passes options on)
	@$(BIN)/python -m helpers.book.open_lab $(LAB)

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

# With the engine that is there, or one of our own for as long as it takes. Debian's client has BuildKit without a plugin.
record: $(READY) ## record what cells that need a cluster or an engine show, after cluster-images (NOTEBOOKS="04")
	@if ! DOCKER_HOST=$$(tests/cluster/engine find); then \
	  trap 'tests/cluster/engine stop' EXIT; trap 'exit 130' INT TERM; DOCKER_HOST=$$(tests/cluster/engine start); fi; \
	export DOCKER_HOST; if [ -x /usr/bin/docker ]; then export PATH=/usr/bin:$$PATH DOCKER_BUILDKIT=1; fi; $(BIN)/python -m helpers.book.record

test-cluster: $(READY) ## run the tests that need a cluster and a container engine, after cluster-up
	@tests/cluster/run-tests

cluster-down: ## remove that Kubernetes, and the container engine if ours (what was built stays in ~/.cache)
	@tests/cluster/down
	@tests/cluster/engine stop
	@echo "cluster-down: nothing of it is left"

strip: $(READY) ## remove the outputs from the notebooks before a commit
	$(BIN)/python -m helpers.book.tutorial --strip

lock: $(READY) ## write the locks anew, from pyproject.toml and serving/model-server.in
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --group dev pyproject.toml --output-file requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --constraint requirements.lock serving/model-server.in --output-file serving/model-server.lock

clean: ## remove what the commands made (not the environment)
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -not -path './.python/*' -prune -exec rm -rf {} +
