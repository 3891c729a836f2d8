# `make train` and `make test` work on a fresh machine: both make .venv from requirements.lock when it is missing.
.PHONY: setup lock train test portable hostile mutants lint docs audit image bench clean help
.DEFAULT_GOAL := help

# Threads that spin while they wait take the cores from whatever else runs on a small machine.
export OMP_WAIT_POLICY = passive

BIN := .venv/bin
DATA := runs/quickstart-data
RUN := runs/quickstart
# The first interpreter of a supported version that really starts.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

setup: .venv/.ready  ## the environment alone, in .venv

FETCH_NIIVUE := mets3d/reporting/viewer/fetch.py

.venv/.ready: requirements.lock pyproject.toml setup.py $(FETCH_NIIVUE)
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 to 3.13 is needed and was not found; install one or set PYTHON="; exit 1; }
	@echo "Installing into .venv: 2.8 GB on disk with a CPU build of torch, several GB more with a CUDA build."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev]' --constraint requirements.lock
	@$(BIN)/python $(FETCH_NIIVUE)
	@touch $@

# What pip installs, of Python 3.11 to 3.13, is read from one lock; a version that is there already is kept.
lock:  ## requirements.lock anew from pyproject.toml; UPGRADE=1 takes the newest versions
	@test -x runs/uv/bin/uv || { $(PYTHON) -m venv runs/uv && runs/uv/bin/python -m pip install --quiet uv; }
	runs/uv/bin/uv pip compile pyproject.toml --extra dev --python-version 3.11.5 --only-binary :all: \
		--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --quiet --output-file requirements.lock
	@for version in 3.12 3.13; do runs/uv/bin/uv pip compile pyproject.toml --extra dev --python-version $$version \
		--only-binary :all: --constraint requirements.lock --quiet --output-file /dev/null || exit 1; done

train: .venv/.ready  ## quickstart: phantoms, training, held-out prediction, scores and a page, in runs/quickstart
	$(BIN)/mets3d synth $(DATA)/cases --cases 36 --seed 0 --shape 64 64 48 --spacing 2.75
	$(BIN)/mets3d preprocess $(DATA)/cases $(DATA)/store --config configs/quickstart.yaml --jobs 2
	$(BIN)/accelerate launch --config_file accelerate_configs/cpu.yaml train.py --config configs/quickstart.yaml
	$(BIN)/mets3d predict $(RUN) $(DATA)/cases --held-out --probabilities
	$(BIN)/mets3d evaluate $(RUN)/predictions $(DATA)/cases --out $(RUN)/scores.csv
	$(BIN)/mets3d report $(RUN) --out $(RUN)/report

test: .venv/.ready  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=term

# What oneDNN and PyTorch compute with on other processors; results that differ by rounding must pass there too.
portable: .venv/.ready  ## the test suite three times: as on this processor, on one with AVX2, on one with SSE4.1
	@failed=; for processor in native avx2 sse41; do \
		case $$processor in \
			native) set -- ;; \
			avx2) set -- ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 ;; \
			sse41) set -- ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default ;; \
		esac; \
		echo "make portable: $$processor $$*"; \
		env "$$@" $(BIN)/python -m pytest -n 2 --dist loadgroup || failed="$$failed $$processor"; \
	done; \
	test -z "$$failed" || { echo "make portable: red under$$failed"; exit 1; }; echo "make portable: green under all three"

# Not in CI. A part of it is in the suite: tests/faults.
hostile: .venv/.ready  ## every stage meets every fault, then 100,000 tiny steps: two tables, in an hour or two
	@failed=; for table in day steps; do $(BIN)/python -m tests.faults $$table || failed="$$failed $$table"; done; \
	test -z "$$failed" || { echo "make hostile: something is lost or grows, see$$failed"; exit 1; }

# Not part of the environment, for nothing else uses it.
runs/mutmut/.ready: .venv/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target runs/mutmut \
		--constraint requirements.lock mutmut==3.8.1
	@touch $@

mutants: runs/mutmut/.ready  ## changes of the code that no test sees, in a sample of its core; an hour or two
	$(BIN)/python -m tests.mutants $(MUTANTS)

lint: .venv/.ready  ## ruff, mypy, import layers, Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

docs: .venv/.ready  ## the documentation as a site, in runs/docs; it opens from its files, without a network
	$(BIN)/python docs/site/notebook_page.py
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo runs/docs/index.html

image:  ## the Docker image, built and tried without Docker; see deploy/image_test.sh
	deploy/image_test.sh

audit: .venv/.ready  ## known weaknesses of what is installed, as a report
	$(BIN)/pip-audit --local --progress-spinner off --desc off || echo "make audit: see above; it only reports"

# Recipe and study train for hours and have subcommands of their own.
bench: .venv/.ready  ## benchmarks; results as JSON in benchmarks/results
	for script in $$(grep -l __main__ benchmarks/*.py | grep -v -e /recipe.py -e /study.py); do $(BIN)/python $$script || exit 1; done

clean:  ## environment, caches and runs
	rm -rf .venv runs outputs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* .import_linter_cache
