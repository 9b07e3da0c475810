.PHONY: demo studies test check lint bench constraints clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

demo: $(INSTALLED)  ## discover -> evaluate -> report on the built-in photos; writes demo/report.html
	rm -rf demo
	$(BIN)/counterground discover stamps --referee efficientnet-lite0 --out demo/benchmark
	$(BIN)/counterground evaluate demo/benchmark --out demo/run \
	  -m efficientnet-lite0 -m efficientnet-lite1 \
	  -m counterground:stamps-biased -m counterground:stamps-balanced
	$(BIN)/counterground report demo/run --discovery demo/benchmark --out demo/report.html

studies: $(INSTALLED)  ## a slice of each study, in studies/
	rm -rf studies
	for study in theory multicoloredmnist coloredcoco; do \
	  $(BIN)/counterground study $$study --quick --out studies/$$study || exit 1; done

test: $(INSTALLED)  ## the whole suite, a process per core
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

check: lint test  ## what CI runs, besides the demo

bench: $(INSTALLED)  ## timings and figures; compare by ratio within one run
	for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

$(INSTALLED): pyproject.toml constraints.txt
	[ -e $@ ] || rm -rf .venv # what an interrupted install left behind
	rm -f $@
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

constraints: $(INSTALLED)  ## pin what is installed now
	(echo '# Everything but torch and torchvision (ranges in pyproject.toml). Made by `make constraints`.'; \
	 $(BIN)/pip freeze --exclude-editable | grep -viE '^(torch|torchvision|triton|nvidia.*|pip|setuptools)(==| @)') > constraints.txt

clean:
	rm -rf .venv demo studies .mypy_cache .ruff_cache .pytest_cache .hypothesis
