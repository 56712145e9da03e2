# Everything is set up in a virtual environment of its own, .venv; nothing is installed elsewhere.
#   make demo    stylize one photograph, then the sample folder on two Dask workers
#   make test    the whole test suite, with linter and type checker
# PYTHON=... chooses the interpreter, EXTRA=cu112 the GPU build of MXNet.

EXTRA ?= cpu
VENV ?= .venv
BIN := $(VENV)/bin

# The first interpreter that runs and is of a supported version; 3.11 first.
CANDIDATES := $(PYTHON) python3.11 python3.12 python3.10 python3 python
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
FOUND = $(firstword $(foreach p,$(CANDIDATES),$(shell $(p) -c '$(SUPPORTED)' >/dev/null 2>&1 && echo $(p))))

.PHONY: demo test test-pythons lint clean

demo: $(VENV)/ready
	$(BIN)/gluon-nst stylize data/photos/temple.jpg data/styles/night_lanterns.jpg --size 384 -o out/temple.png
	$(BIN)/gluon-nst batch data/photos --style data/styles/woodblock_waves.jpg --size 256 --steps 30 -o out/photos
	$(BIN)/gluon-nst report out/photos
	@echo "Look at out/temple.png, and at out/photos/.gluon-nst/report.html"

test: $(VENV)/ready-test lint
	$(BIN)/python -m pytest

# The same tests on every supported Python that is at hand, each in an environment of its own.
PYTHONS ?= python3.10 python3.11 python3.12
test-pythons:
	for p in $(PYTHONS); do \
	  if $$p -c '$(SUPPORTED)' >/dev/null 2>&1; then \
	    $(MAKE) test PYTHON=$$p VENV=.venv-$$(basename $$p) || exit 1; \
	  else echo "$$p is not at hand: not tested"; fi; \
	done

lint: $(VENV)/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/ready: setup.cfg pyproject.toml
	@test -n "$(FOUND)" || { echo "gluon_nst needs Python 3.10, 3.11 or 3.12, and none was found. Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(FOUND) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRA)]'
	touch $@

$(VENV)/ready-test: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRA),test]'
	touch $@

clean:
	rm -rf .venv .venv-* build dist out *.egg-info
