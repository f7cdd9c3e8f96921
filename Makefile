# make demo | test | test-soak | test-bounds | lint | wheel | bench | dev | docs | site | picture   (each creates .venv on first use)
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Compiling our own modules anew is a third of what each process of the tests takes to start
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-soak test-bounds lint wheel bench dev docs site picture clean

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable '.[dagster,serve,postgres,s3,dev]'
	@mkdir -p .venv/names/run_evidence  # what mypy reads: the folders under the name they are imported by
	@ln -sfn ../../../ledger ../../../sensors ../../../evidence .venv/names/run_evidence/
	@touch $@

demo: .venv/.installed
	@$(BIN)/python -m pipelines.demo

# More processes than cores: much of what is tested is waited for
test: .venv/.installed
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "not soak"

# What takes long: kills, every byte of a file, real daemons, the documents that are followed word for word
test-soak: .venv/.installed
	$(BIN)/python -m pytest -n 3 --dist worksteal -m soak

# The oldest of everything that pyproject.toml lets in: whoever pins an older pyarrow or Dagster reads, proves and captures
.venv-bounds/.installed: pyproject.toml tests/bounds.py
	$(PYTHON) -m venv .venv-bounds
	$(PYTHON) tests/bounds.py > .venv-bounds/bounds.txt
	PIP_CONSTRAINT=.venv-bounds/bounds.txt .venv-bounds/bin/python -m pip install --quiet --editable '.[dagster]'
	.venv-bounds/bin/python -m pip install --quiet freezegun hypothesis jsonschema packaging pytest pytest-timeout pytest-xdist
	@touch $@

test-bounds: .venv-bounds/.installed
	.venv-bounds/bin/python -m pytest -n 3 --dist worksteal -m "not soak" $$($(PYTHON) tests/bounds.py --tests)

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# dist/run_evidence_ledger-VERSION-py3-none-any.whl, and run_evidence_check-…, which needs cryptography alone
wheel: .venv/.installed
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python -m checker dist
	@ls dist/*.whl

bench: .venv/.installed
	$(BIN)/python -m benchmarks

docs: .venv/.installed
	$(BIN)/python -m docs.generate
	$(BIN)/python -m pipelines.pages

# build/site: the documentation as a site, every link checked
site: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

picture: .venv/.installed
	$(BIN)/python -m docs.picture

# The example project in Dagster's own UI, with the daemon, over what the demo made; make dev PORT=3001 for another port
PORT ?= 3000
dev: .venv/.installed
	@test -d .demo/deliveries || $(BIN)/python -m pipelines.demo
	DAGSTER_HOME=$(CURDIR)/.demo/dagster LEDGER_URL=.demo/ledger SEED_MANIFEST_PATH=.demo/deliveries WEEK06_REPORT_DIR=.demo/reports/week06 \
	  $(BIN)/dagster dev -m pipelines.definitions --port $(PORT)

clean:
	rm -rf .venv .venv-bounds .demo build dist *.egg-info
