# Two commands set everything up on a fresh machine: `make study` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/*) $(wildcard csrc/*/*)

.PHONY: study test lint sanitize bench clean

study: $(VENV)/installed
	$(BIN)/redrop study

test: lint sanitize $(VENV)/installed-browser
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The C++ core under the address, undefined-behaviour and thread sanitizers.
sanitize: $(VENV)/installed-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/sanitize

bench: $(VENV)/installed-dev
	$(BIN)/python -m bench

$(VENV)/created:
	@command -v $(PYTHON) >/dev/null || { echo "redrop needs Python 3.11 or later; '$(PYTHON)' was not found. Set PYTHON=…"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "redrop needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V). Set PYTHON=…"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "redrop needs Python's venv module; on Debian: apt install python3-venv"; exit 2; }
	@command -v $${CXX:-c++} >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || { echo "redrop needs a C++17 compiler; on Debian: apt install g++"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created $(SOURCES)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/created $(SOURCES)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/installed

# The page is tested in a real browser, and its arithmetic in node.
$(VENV)/installed-browser: $(VENV)/created
	@for tool in chromium node; do \
	  command -v $$tool >/dev/null && continue; \
	  package=$$tool; [ $$tool = node ] && package=nodejs; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -qq -y $$package >/dev/null; \
	  else echo "The page's tests need $$tool; on Debian: apt install $$package"; exit 2; fi; \
	done
	@touch $@

clean:
	rm -rf $(VENV) build
