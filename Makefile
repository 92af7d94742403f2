# make demo: train on real digits in a minute. make test: run the tests. make docs: write the site to build/site.
# All set up .venv on first use.
PYTHON ?= python3
TORCH ?= torch==2.13.0
DOCS = "mkdocs-material>=9.5,<10" "mkdocstrings[python]>=0.27"
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint docs clean

demo: .venv/ready
	.venv/bin/gxnor train digits --resume --out runs/digits-demo

test: .venv/ready
	.venv/bin/python -m pytest

lint: .venv/ready
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

docs: .venv/ready
	$(PIP) $(DOCS)
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

.venv/ready: pyproject.toml native/CMakeLists.txt $(wildcard native/*/*.cpp native/*/*.h)
	@echo "== setting up .venv (once, and again when pyproject.toml or native/ change; then only what changed is compiled)"
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed; try make PYTHON=python3.12')"
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "== installing PyTorch ($(TORCH))"
	$(PIP) "$(TORCH)"
	@echo "== installing gxnor and what it needs, building the native kernels"
	$(PIP) --editable ".[train,dev]"
	@touch .venv/ready

clean:
	rm -rf .venv build gxnor/*.so
	git clean -qfdX native
