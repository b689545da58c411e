# SLA planner: `make demo` shows it at work, `make test` proves that it holds.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench golden lock docs clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## a virtual environment with everything; leaves .venv/bin/planner

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: $(STAMP) ## simulate the embedded scenario: table, pictures and a report in demo-out/
	mkdir -p demo-out
	$(BIN)/planner simulate demo --plots demo-out --report demo-out/report.html --decisions demo-out/decisions.jsonl

check: $(STAMP) ## style, types, layers, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/gen_reference.py --check

test: check ## everything that CI runs
	$(BIN)/python -m pytest -n 2 -q

bench: $(STAMP) ## speed of the plant and the decisions, quality of the predictors
	$(BIN)/python benchmarks/plant.py
	$(BIN)/python benchmarks/decide.py
	$(BIN)/python benchmarks/predictors.py

golden: $(STAMP) ## rewrite the golden decision traces after a change of the law
	$(BIN)/python -m pytest -q tests/golden --write-golden

lock: ## renew requirements.lock (needs uv)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --extra dev pyproject.toml -o requirements.lock

docs: $(STAMP) ## regenerate the reference pages
	$(BIN)/python scripts/gen_reference.py

clean: ## remove what was built
	rm -rf build dist demo-out *.egg-info
