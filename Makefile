# Two commands for a fresh clone: `make demo` and `make test`. The others are for development.
.PHONY: help setup demo test test-fast lint type docs wheel bench

# Scripts find the environment's programs as if it were activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
STAMP := .venv/.installed

help:
	@echo "demo       a trip is booked while its worker is killed; then the site stays up"
	@echo "test       all tests on SQLite and PostgreSQL"
	@echo "test-fast  unit and integration tests on SQLite"
	@echo "lint       ruff and import-linter"
	@echo "type       mypy and pyright"
	@echo "docs       the documentation, in docs/_build/html"
	@echo "wheel      build the wheel, look into it, install it without extras"
	@echo "bench      the benchmarks, on PostgreSQL"
	@echo "setup      the virtual environment in .venv; the others do it when it is due"

setup: $(STAMP)

# An environment that works is kept; one left over from an interrupted run is made anew.
# The stamp is older than pyproject.toml exactly when the dependencies may have changed.
$(STAMP): pyproject.toml
	@.venv/bin/python -m pip --version >/dev/null 2>&1 \
		|| { python=$$(scripts/python) && "$$python" -m venv --clear .venv; }
	@# Dependency groups need pip 25.1.
	.venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv/bin/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: setup
	scripts/demo

test: setup
	scripts/test

test-fast: setup
	scripts/test --fast

lint: setup
	ruff check .
	ruff format --check .
	lint-imports

type: setup
	mypy
	pyright

docs: setup
	sphinx-build --fail-on-warning --keep-going --quiet --builder html docs docs/_build/html

wheel: setup
	scripts/check-wheel

bench: setup
	scripts/postgresql run python -m benchmarks
