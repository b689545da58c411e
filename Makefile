# SLA planner: `make demo` shows it at work, `make test` proves that it holds.
PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-live stack test check bench bench-decisions golden docs tutorial lock clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(READY) ## a virtual environment with everything; leaves .venv/bin/planner

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## simulate the embedded scenario: table, pictures and a report in demo-out/
	@mkdir -p demo-out
	$(BIN)/planner simulate demo --plots demo-out --report demo-out/report.html --decisions demo-out/decisions.jsonl

demo-live: $(READY) ## a real routed stack on this machine, with the planner at its side: watch it add and remove workers
	$(BIN)/planner demo

stack: $(READY) ## install the parts of that stack (NVIDIA Dynamo, Envoy) into .venv-stack, for tests
	$(BIN)/python -m planner.local.install

test: check ## everything that CI runs
	$(BIN)/python -m pytest --numprocesses auto -m "not e2e"
	$(BIN)/python -m pytest -m e2e

check: $(READY) ## style, types, layers, generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/gen_reference.py --check

bench: $(READY) ## speed of the plant and of decisions, quality of the predictors
	@for bench in benchmarks/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

bench-decisions: $(READY) ## every policy on the quick suite: the table of the README
	$(BIN)/planner compare --suite quick

golden: $(READY) ## rewrite the recorded decisions after a change that is meant; prints them, and what they keep and cost
	$(BIN)/python -m pytest tests/golden --write-golden --capture=no --quiet

docs: $(READY) ## write the generated reference pages anew
	$(BIN)/python scripts/gen_reference.py

tutorial: $(READY) ## follow docs/tutorial.md and write what its commands print now
	$(BIN)/python scripts/run_tutorial.py

lock: ## add what is new to requirements.lock (needs uv); make lock LOCK=--upgrade renews everything
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url $(LOCK) --extra dev pyproject.toml --output-file requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url $(LOCK) --excludes deploy/local/excludes.txt deploy/local/requirements.in \
		--output-file deploy/local/requirements.lock

clean: ## remove what was made, but not the virtual environment
	rm -rf build dist demo-out .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
