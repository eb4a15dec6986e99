# The same commands on a laptop and in CI. `make` alone lists them.
#
#   make setup PYTHON=/path/to/python3.12    use this Python
#   make setup TORCH=default                 take the index's torch, CUDA libraries included
#   make bench DATA=folder BASELINE=file.py  measure the product beside a baseline program

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
TORCH ?= auto
PYTHON ?=
JOBS ?= 2
QUESTION ?= How much notice must the Authority give to end the crane agreement without a reason?
PYTEST := $(BIN)/python -m pytest
# A file's tests stay in one process, so that what they share (models, a browser, a server) is made once.
SPREAD := -n $(JOBS) --dist loadfile --no-loadscope-reorder
NO_LONG_RUNS := not slow

.PHONY: help setup run test test-all check format bench docs changelog train-reader kills hostile screenshots lock image clean distclean

help: ## list these commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv and fetch the default models (repeats no work)
	@PYTHON="$(PYTHON)" scripts/setup.sh --torch "$(TORCH)"

run: setup ## set up, read the samples, answer one question, then serve on loopback
	@$(BIN)/strongroom up --samples samples/documents --question "$(QUESTION)"

test: setup ## every test that needs no more than `make setup`
	@STRONGROOM_TEST_REQUIRE=models $(PYTEST) $(SPREAD) -m "$(NO_LONG_RUNS) and not browser and not qdrant" tests

test-all: setup ## the tests of `make test`, and those with a real browser
	@STRONGROOM_TEST_REQUIRE=models,browser $(PYTEST) $(SPREAD) -m "$(NO_LONG_RUNS)" tests

check: setup ## formatting, lint, types, import rules, licences, generated pages, changelog
	@$(BIN)/python scripts/check.py

format: setup ## put the code into the form that `make check` asks for
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

bench: setup ## DATA=folder [BASELINE=program]: speed and quality beside a baseline, as JSON
	@test -n "$(DATA)" || { echo "make bench: say where the documents are: DATA=folder [BASELINE=program.py]" >&2; exit 2; }
	@test -z "$(BASELINE)" || test -d build/bench || \
		$(BIN)/python -m pip install --quiet --no-deps --target build/bench -r constraints/bench.txt
	@$(BIN)/python -m benchmarks.run "$(DATA)" $(if $(BASELINE),--baseline "$(BASELINE)" --python-path build/bench)

docs: setup ## write the generated reference pages again
	@$(BIN)/python docs/generate.py

changelog: setup ## VERSION=x.y.z: move the fragments of docs/changelog into CHANGELOG.md
	@test -n "$(VERSION)" || { echo "make changelog: say which version: VERSION=x.y.z" >&2; exit 2; }
	@$(BIN)/python scripts/changelog.py release "$(VERSION)"

train-reader: setup ## DATA=folder [WITHOUT=share-alike] [OUT=build/reader]: train the reader; goes on after a kill
	@test -n "$(DATA)" || { echo "make train-reader: say where the training sets are: DATA=folder" >&2; exit 2; }
	@$(BIN)/python -m models.training "$(DATA)" --out "$(or $(OUT),build/reader)" $(if $(WITHOUT),--without "$(WITHOUT)")

kills: setup ## DATA=folder: the long campaign: kill an ingest 20 times, resume, compare
	@$(BIN)/python -m tests.campaigns.kill_ingest $(or $(DATA),samples/documents)

hostile: setup ## DATA="folder ...": ingest hostile files through the real command, account for every one
	@test -n "$(DATA)" || { echo "make hostile: say where the files are: DATA=\"folder folder\"" >&2; exit 2; }
	@$(BIN)/python -m tests.campaigns.hostile $(DATA)

screenshots: setup ## pictures of the running UI for the README and the tutorials
	@$(BIN)/python docs/screenshots.py

lock: setup ## resolve constraints/ again after a change of pyproject.toml (needs 3.11, 3.12 and 3.13)
	@$(BIN)/python scripts/lock.py

image: ## build the container image with whichever engine is here
	@deploy/build-image.sh

clean: ## remove caches and build folders
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## also remove .venv (installed models stay)
	rm -rf .venv
