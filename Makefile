# Two commands are all the set-up there is: `make train` and `make test`. `make help` lists the others.

PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
DOCS := .venv-docs
BIN := $(VENV)/bin
RUN := $(BIN)/python
INSTALL = $(1)/bin/python -m pip --disable-pip-version-check --quiet install --editable

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help train test threads peers docs check static check-format lint types imports dockerfile workflow fast-tests kernels format clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

# Several processes share the tests. What a test finds depends neither on their number nor on which of them runs it.
TOGETHER := -n logical --maxprocesses 4 --dist worksteal

# The fuzz test draws its own numbers of threads, and the simulated device's kernels have none.
ON_THREADS := tests/kernels --ignore tests/kernels/cuda --ignore tests/kernels/test_fuzz.py

train: $(VENV)/installed  ## train the book's SimpleConvNet on MNIST; options: make train ARGS="--model deep"
	$(RUN) scripts/train.py --output runs/simple $(ARGS)

test: $(VENV)/installed-test  ## run the whole test suite, the kernels on two threads
	$(RUN) -m pytest $(TOGETHER) $(ARGS)

threads: $(VENV)/installed-test  ## run what the number of threads may change once more on one thread, and on three
	$(RUN) -m pytest $(TOGETHER) --kernel-threads 1 $(ON_THREADS) $(ARGS)
	$(RUN) -m pytest $(TOGETHER) --kernel-threads 3 $(ON_THREADS) $(ARGS)

peers: $(PEERS)/installed  ## run the tests that compare with PyTorch and onnxruntime, in an environment that has them
	$(PEERS)/bin/python -m pytest $(TOGETHER) -m peers --nothing-skipped $(ARGS)

docs: $(DOCS)/installed  ## build the site, with the pages' code run, in build/docs/index.html
	$(DOCS)/bin/python -m sphinx -E -W --keep-going --quiet -j auto -d build/docs-cache docs build/docs $(ARGS)
	@echo "The site is in build/docs/index.html"

check: static fast-tests  ## all of the following, as before every commit

static: check-format lint types imports dockerfile workflow  ## what needs no test to run

check-format: $(VENV)/installed-dev  ## is the code formatted?
	$(RUN) -m ruff format --check

lint: $(VENV)/installed-dev  ## ruff's rules
	$(RUN) -m ruff check

types: $(VENV)/installed-dev  ## mypy, strict on the package
	$(RUN) -m mypy

imports: $(VENV)/installed-dev  ## imports point one way
	$(BIN)/lint-imports --no-logo

dockerfile: $(VENV)/installed-dev  ## hadolint
	$(BIN)/hadolint Dockerfile

workflow: $(VENV)/installed-dev  ## actionlint
	$(BIN)/actionlint .github/workflows/*.yml

fast-tests: $(VENV)/installed-dev  ## the tests that take no more than seconds
	$(RUN) -m pytest $(TOGETHER) -m "not slow" $(ARGS)

kernels: $(VENV)/installed  ## compile the CUDA kernels for every architecture (needs nvcc): registers, spills
	$(RUN) tools/compile_kernels.py $(ARGS)

format: $(VENV)/installed-dev  ## format the code and fix what ruff can fix
	$(RUN) -m ruff format
	$(RUN) -m ruff check --fix

clean:  ## remove the environment, caches and built files; runs/ stays
	rm -rf $(VENV) $(PEERS) $(DOCS) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find xpcnn tests scripts tools -name __pycache__ -prune -exec rm -rf {} +

# The environment. Each step leaves its mark only when it has ended well, so a broken one starts again;
# a changed pyproject.toml is newer than the marks and installs anew.

$(VENV)/created $(PEERS)/created $(DOCS)/created: %/created:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) is not on the path: install Python 3.11 or newer, or name one: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "xpcnn needs Python 3.11 or newer and $(PYTHON) is `$(PYTHON) -V 2>&1`; name a newer one: make PYTHON=python3.13" >&2; exit 1; }
	$(PYTHON) -m venv $*
	@touch $@

$(VENV)/installed: pyproject.toml $(VENV)/created
	@echo "Installing xpcnn into $(VENV) ..."
	@$(call INSTALL,$(VENV)) .
	@touch $@

$(VENV)/installed-test $(VENV)/installed-dev: $(VENV)/installed-%: pyproject.toml $(VENV)/created
	@echo "Installing xpcnn[$*] into $(VENV) ..."
	@$(call INSTALL,$(VENV)) ".[$*]"
	@touch $@

$(PEERS)/installed: pyproject.toml $(PEERS)/created
	@echo "Installing xpcnn[peers] into $(PEERS): PyTorch takes its time ..."
	@$(call INSTALL,$(PEERS)) ".[peers]"
	@touch $@

$(DOCS)/installed: pyproject.toml $(DOCS)/created
	@echo "Installing xpcnn[docs] into $(DOCS) ..."
	@$(call INSTALL,$(DOCS)) ".[docs]"
	@touch $@
