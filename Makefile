# make demo [ARGS=--once]   the whole road on this machine
# make test                 everything that CI runs
# make check                a quick look while working
# make PYTHON=/path/to/python3.12 …   with this Python
.PHONY: demo test check clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PROJECTS := $(wildcard packages/*/pyproject.toml)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

demo: $(VENV)/demo.stamp
	$(BIN)/actas demo $(ARGS)

test: $(VENV)/nox.stamp
	tools/install_system_packages
	$(BIN)/nox $(ARGS)

check: $(VENV)/nox.stamp
	tools/install_system_packages
	$(BIN)/nox -s lint types minimal $(ARGS)

clean:
	rm -rf $(VENV) .nox .coverage .coverage.* htmlcov

$(BIN)/python:
	@python=$$(PYTHON='$(PYTHON)' tools/find_python) && echo "Making $(VENV) with $$python" && "$$python" -m venv $(VENV)

$(VENV)/demo.stamp: $(PROJECTS) | $(BIN)/python
	@echo "Installing actas and what it needs into $(VENV)"
	$(PIP) install -e "packages/core[demo]" -e packages/delegation-sql
	@touch $@

$(VENV)/nox.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing nox and uv into $(VENV)"
	$(PIP) install "nox>=2026.10" "uv>=0.13"
	@touch $@
