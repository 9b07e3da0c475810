.PHONY: demo studies test test-browser test-slow coverage browser compiler check lint docs release try-wheel lowest licences \
  audit real bench constraints clean

PYTHON ?= python3
BIN := .venv/bin
DEMO := .venv/.demo
INSTALLED := .venv/.installed
PEERS := .peers/.installed
PEERS_PYTHON := $(firstword $(shell command -v python3.13 python3.12) $(PYTHON))  # every_eval_ever needs 3.12
# One process more than cores, as many tests wait: for servers, browsers and processes that are killed.
WORKERS = $(shell n=$$(getconf _NPROCESSORS_ONLN); [ $$n -lt 8 ] && echo $$((n + 1)) || echo 8)
PYTEST = $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
# Installs Debian packages where that can be done without asking: as root.
APT := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
# Debian keeps what `python3 -m venv` needs in a package of its own.
VENV = $(shell $(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])' 2>&- || echo python3-venv)

demo: $(DEMO)  ## discover -> evaluate -> report on the built-in photos; writes demo/report.html
	rm -rf demo
	@echo '=== 1. Does an ImageNet model rely on the background? It chooses pairs of'
	@echo '===    backgrounds on half of the photos and is evaluated on the other half.'
	$(BIN)/counterground discover stamps --referee efficientnet-lite0 --out demo/pairs
	$(BIN)/counterground evaluate demo/pairs --out demo/run --quiet -m efficientnet-lite0 -m efficientnet-lite1
	@echo '=== 2. Is a known reliance found? stamps-biased was trained to rely on one'
	@echo '===    background per class, its twin stamps-balanced was not. Both are judged'
	@echo '===    on photographs that neither was trained on.'
	$(BIN)/counterground discover stamps-reserved --referee counterground:stamps-biased \
	  --write-anyway --out demo/pairs-of-biased --quiet
	$(BIN)/counterground evaluate demo/pairs-of-biased --out demo/run-biased --quiet -X photos=no \
	  -m counterground:stamps-biased -m counterground:stamps-balanced
	@echo '=== 3. The report of the first run: open demo/report.html.'
	$(BIN)/counterground report demo/run --discovery demo/pairs --out demo/report.html

studies: $(INSTALLED)  ## a slice of each study, in studies/
	rm -rf studies
	for study in theory multicoloredmnist coloredcoco; do \
	  $(BIN)/counterground paper study $$study --quick --out studies/$$study || exit 1; done

# Processes that tests start find modules compiled.
test test-browser test-slow test-% coverage: export PYTHONDONTWRITEBYTECODE :=

test: $(INSTALLED)  ## what needs neither a browser nor minutes, on all cores: about ten minutes on two
	$(PYTEST) -m "not slow and not browser"

test-browser: $(INSTALLED) browser  ## pages as their readers see them, in Chromium
	$(PYTEST) -m browser

test-slow: $(INSTALLED) $(PEERS) compiler  ## simulations, trainings, clusters, commands of the docs
	$(PYTEST) -m "slow and not browser"

test-%: $(INSTALLED)  ## the part of `make test` that is about one room: test-metrics, test-photos, test-construction, test-paper ...
	$(PYTEST) -m "not slow and not browser" tests/$*

browser:
	@for name in chromium-headless-shell chromium chromium-browser google-chrome; do \
	  command -v $$name >/dev/null && exit; done; \
	  { $(APT) chromium-headless-shell fonts-dejavu-core; } || { $(APT) chromium fonts-dejavu-core; } || \
	  { echo 'Chromium is needed: apt-get install chromium fonts-dejavu-core' >&2; exit 1; }

compiler:
	@command -v g++ >/dev/null || { $(APT) g++ libc6-dev; } || \
	  { echo 'A compiler is needed: apt-get install g++ libc6-dev' >&2; exit 1; }

coverage: $(INSTALLED) $(PEERS) browser  ## the lines of src that all tests run, processes that they start included
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort cover

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

check: lint test  ## before a change is sent

docs: $(INSTALLED)  ## the documentation site, in site/index.html: built offline, in strict mode, checked
	$(BIN)/python scripts/make_site.py .site
	$(BIN)/zensical build --clean --strict
	$(BIN)/python scripts/check_site.py site

release: $(INSTALLED)  ## wheel and sdist in dist/, built twice with the same bytes, their contents checked
	$(BIN)/python scripts/build_twice.py dist

try-wheel: release  ## the wheel evaluates a folder of photos in an empty environment, far from here
	scripts/try-wheel dist/counterground-*.whl $(PYTHON) --constraint constraints.txt

lowest: release  ## the same with the lowest versions that pyproject.toml allows
	scripts/try-wheel dist/counterground-*.whl $(PYTHON) --constraint constraints-lowest.txt

licences: $(INSTALLED)  ## the licence of every installed package; fails on one that is not allowed
	$(BIN)/python scripts/licences.py

audit: $(INSTALLED)  ## known vulnerabilities of the pinned packages; says so where the network has no list of them
	scripts/audit

real: $(INSTALLED)  ## with a network and a GPU: what could not be checked without; writes real/form.md to be sent
	$(BIN)/python scripts/real.py --out real

bench: $(INSTALLED)  ## ours against others, in one table; ROWS="head rn50" measures some of its rows
	$(BIN)/python bench/table.py $(ROWS)

# What the demo needs; then the rest, for tests and linters.
$(DEMO): pyproject.toml constraints.txt
	[ ! -e .venv/.installing ] || rm -rf .venv  # what an interrupted install left behind
	rm -f $@ $(INSTALLED)
	@$(PYTHON) -c 'import ensurepip' 2>&- || { $(APT) $(VENV); } || \
	  { echo '`$(PYTHON) -m venv` cannot work yet. Install what it needs: apt-get install $(VENV)' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	touch .venv/.installing
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[lite]'
	mv .venv/.installing $@ && touch $@

$(INSTALLED): $(DEMO)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps clip-benchmark  # what it needs is there
	touch $@

# The field's own code, which reads in tests what we write: packages that do not go with ours.
$(PEERS): tests/peers.txt
	$(PEERS_PYTHON) -m venv --clear .peers
	.peers/bin/python -m pip install --quiet --requirement tests/peers.txt
	touch $@

constraints: $(INSTALLED)  ## pin what is installed now; with Python 3.11, which needs some packages more
	(echo '# Everything but torch and torchvision (ranges in pyproject.toml). Made by `make constraints`.'; \
	 $(BIN)/pip freeze --exclude-editable | grep -viE '^(torch|torchvision|triton|nvidia.*|cuda.*|pip|setuptools)(==| @)') > constraints.txt

clean:
	rm -rf .venv .peers demo studies dist .site site .mypy_cache .ruff_cache .pytest_cache .hypothesis
