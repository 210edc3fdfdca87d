# Every target sets up .venv by itself; `make test PYTHON=python3.12` picks another interpreter.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
MODEL := emoji
MINUTES := 60
JOBS ?= 2

.PHONY: demo test quick coverage check docs docs-slow notebooks package fuzz soak bench zoo

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install -c constraints.txt -e ".[dev]"
	touch $@

demo: $(READY)  ## draw, describe, speak and transcribe with the model that ships
	$(BIN)/vqfusion demo

check: $(READY)  ## lint, docstrings and types
	$(BIN)/ruff check .
	$(BIN)/python tools/check_docstrings.py
	$(BIN)/mypy

test: check  ## lint, docstrings, types and every test
	$(BIN)/pytest -n $(JOBS)

quick: $(READY)  ## the tests without the slow ones, while you write
	$(BIN)/pytest -n $(JOBS) -m "not slow"

coverage: $(READY)  ## every test, and the share of the lines that they run
	$(BIN)/pytest -n $(JOBS) --cov

docs: $(READY)  ## the documentation as a site in build/site, without a warning
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q
	@echo "python3 -m http.server -d build/site 8001    # then http://127.0.0.1:8001/"

docs-slow: $(READY)  ## run every block of code in the documentation
	$(BIN)/python tests/doc_pages.py

notebooks: $(READY)  ## run the notebooks in examples/, and keep what they show
	$(BIN)/python tools/run_notebooks.py

package: $(READY)  ## wheel and sdist in dist/, installed into an empty environment, and the demo there
	rm -rf dist
	$(BIN)/python tools/check_package.py

fuzz: $(READY)  ## mutated inputs through the command, for MINUTES of the processor; SEED=7 repeats a run
	$(BIN)/python tests/fuzz/fuzzer.py --seconds $$((60 * $(MINUTES))) $(if $(SEED),--seed $(SEED))

soak: $(READY)  ## kills, races, full disks and planted links, for MINUTES
	$(BIN)/python tests/soak/soak.py --seconds $$((60 * $(MINUTES))) $(if $(SEED),--seed $(SEED))

bench: $(READY)  ## the benchmarks, one after the other
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

zoo: $(READY)  ## train the shipped model on from its weights, by its recipe, and put it in its place
	$(BIN)/vqfusion train $(MODEL) --start $(MODEL) --output runs/$(MODEL)
	mkdir -p src/vqfusion/zoo/$(MODEL)
	cp runs/$(MODEL)/*.safetensors runs/$(MODEL)/*.json src/vqfusion/zoo/$(MODEL)/
	rm src/vqfusion/zoo/$(MODEL)/chain.json src/vqfusion/zoo/$(MODEL)/tokens.safetensors
