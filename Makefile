# It needs Python 3.11 or newer and make. Everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow chaos check site pictures clean

demo: .venv/installed  ## a whole search on synthetic faces, in about a minute
	$(BIN)/fer-tune run sweeps/demo.yaml --workers 2
	$(BIN)/fer-tune best --study demo
	$(BIN)/fer-tune retrain --study demo

# Some tests wait for processes, so there is one process more than two cores need. Tests of a file share
# one, with their fixtures. A file is compiled once for all, whatever the shell says.
test: .venv/installed  ## the tests and a short campaign of kills, without the slow ones and those for a GPU
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m 'not slow and not gpu' -n 3 --dist loadfile --no-loadscope-reorder

slow: .venv/installed  ## the tests that `make test` leaves out, but for those of a GPU
	$(BIN)/python -m pytest -m 'slow and not gpu' -n 2 --dist loadfile --ignore tests/test_chaos.py

chaos: .venv/installed  ## kills, full disks, other hands and more against real runs, for 20 to 40 minutes
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev,ray]'
	$(BIN)/python -m benchmarks.chaos

check: .venv/installed  ## style, types, plain English, and the documentation in build/site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/prose.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

site: .venv/installed  ## the documentation, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pictures: .venv/installed  ## takes the pictures in docs/ again, in three minutes; it needs Chromium
	$(BIN)/python -m benchmarks.pictures docs

# The stamp is written last, so that an installation that was cut short is repeated.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	touch $@

clean:  ## removes the environment and keeps storage/
	rm -rf .venv
