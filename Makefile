# Everything from nothing but Python 3.11+, git and make. `make` alone lists the targets.

PYTHON ?= python3
PLUGINS := $(wildcard plugins/*/pyproject.toml)
PLUGIN_FOLDERS := $(patsubst %/pyproject.toml,%,$(PLUGINS))
BIN := .venv/bin
PAGE := plugins/demo/surfaces_demo/page

export PYTHON
# Where the machine asks for no bytecode, each process of the tests would compile all its modules again.
unexport PYTHONDONTWRITEBYTECODE
# One run of mypy for everything that is ours; what tests may leave out stands in pyproject.toml.
TYPED := surfaces_core $(notdir $(wildcard plugins/*/surfaces_*)) tools bench proof tests $(subst /,.,$(wildcard plugins/*/tests))
# Where make can, what is made side by side says what it has to say in one piece.
BESIDE := -j3 $(if $(filter output-sync,$(.FEATURES)),--output-sync=recurse)
MEMBERS = $(shell sed -n 's/^name = "\(surfaces-.*\)"/--no-emit-package \1/p' pyproject.toml $(PLUGINS))
COMPILE = tools/uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null || \
		sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1   \2/p' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.stamp ## make .venv with the host, all plugins and the tools

.PHONY: synapse
synapse: .synapse/.stamp ## make .synapse with the homeserver for demos and tests

.PHONY: web
web: page .chromium/.stamp ## make the chat page, and Node and Chromium for testing with it

.PHONY: page
page: $(PAGE)/index.html

.PHONY: demo
demo: setup synapse ## show a person talking to their agent, on this machine alone
	@$(MAKE) --no-print-directory page || echo "Node cannot be had here, so the demo goes without its chat page." >&2
	@trap : INT; if [ -t 0 ] && [ -t 1 ]; then $(BIN)/surfaces demo; else $(BIN)/surfaces demo --once; fi

.PHONY: test
test: setup ## run everything: lint, types, layers, the docs site, all tests
	@$(MAKE) --no-print-directory $(BESIDE) lint synapse web site
	$(BIN)/pytest -n 3 --dist loadgroup # tests that wait for a process or a server leave a core to others

.PHONY: quick
quick: lint ## run lint and the tests that need no server
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

.PHONY: pictures
pictures: setup synapse web ## make the pictures of pages that the documents show
	mkdir -p docs/images
	SURFACES_PICTURES=docs/images $(BIN)/pytest plugins/demo/tests/test_chat_page.py tests/test_status_page.py
	$(BIN)/python tools/pictures.py

.PHONY: crash
crash: setup ## prove the delivery promise with kills everywhere, at length, and write proof.json
	$(BIN)/python -m proof

.PHONY: lint
lint: setup ## check style, types and which package imports which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@$(BIN)/mypy --num-workers 2 $(TYPED:%=-p %) -m conftest
	$(BIN)/lint-imports

.PHONY: bench
bench: setup .bench/.stamp ## measure against plain loops, and write the figures, tables and pictures
	$(BIN)/python -m bench
	$(BIN)/python tools/docs.py

.PHONY: docs
docs: setup ## write the generated pages of docs/reference
	$(BIN)/python tools/docs.py

.PHONY: site
site: .site/.stamp ## build the docs site into site/; any warning fails
	rm -rf site
	.site/bin/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky -d .site/doctrees -c docs -b html . site
	.site/bin/python tools/site.py check site

.PHONY: look
look: site ## show the docs site at http://127.0.0.1:8020/
	.site/bin/python -m http.server --bind 127.0.0.1 --directory site 8020

.PHONY: words
words: setup ## bring the translations in step with the code, and say what is missing
	$(BIN)/python tools/words.py

.PHONY: wheels
wheels: setup page ## build a wheel of every distribution into dist/
	for folder in . $(PLUGIN_FOLDERS); do \
		(cd $$folder && $(CURDIR)/$(BIN)/python -m hatchling build -t wheel -d $(CURDIR)/dist) || exit; done

.PHONY: lock
lock: ## pin what the environments are made of; UPGRADE=--upgrade takes newer versions
	$(COMPILE) -o requirements/uv.txt requirements/uv.in
	$(COMPILE) -o requirements/dev.txt --extra testing --extra e2ee --extra thumbnails --extra anthropic --extra google --extra mcp $(MEMBERS) pyproject.toml $(PLUGINS) requirements/dev.in
	$(COMPILE) -o requirements/synapse.txt requirements/synapse.in
	$(COMPILE) -o requirements/bench.txt requirements/bench.in
	$(COMPILE) -o requirements/node.txt requirements/node.in
	$(COMPILE) -o requirements/build.txt requirements/build.in
	$(COMPILE) -o requirements/docs.txt requirements/docs.in
	mkdir -p requirements/run
	$(COMPILE) -o requirements/run/core.txt -c requirements/dev.txt pyproject.toml
	for folder in $(filter-out plugins/demo plugins/testing,$(PLUGIN_FOLDERS)); do \
		$(COMPILE) -o requirements/run/$${folder#plugins/}.txt -c requirements/dev.txt --all-extras \
			$(MEMBERS) $$folder/pyproject.toml || exit; done

.PHONY: clean
clean: ## remove everything that make made
	rm -rf .venv .uv .synapse .bench .site site .node .chromium node_modules $(PAGE) var dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp: requirements/dev.txt requirements/uv.txt tools/environment tools/uv pyproject.toml $(PLUGINS)
	tools/environment .venv requirements/dev.txt . $(PLUGIN_FOLDERS)
	@touch $@

.synapse/.stamp: requirements/synapse.txt requirements/uv.txt tools/environment tools/uv
	tools/environment .synapse requirements/synapse.txt
	@touch $@

.node/.stamp: requirements/node.txt requirements/uv.txt tools/environment tools/uv
	tools/environment .node requirements/node.txt
	@touch $@

$(PAGE)/index.html: node_modules/.stamp plugins/demo/web/build.mjs plugins/demo/web/tsconfig.json $(wildcard plugins/demo/web/src/*)
	tools/node node_modules/typescript/bin/tsc -p plugins/demo/web
	tools/node plugins/demo/web/build.mjs

.chromium/.stamp: node_modules/.stamp tools/chromium.mjs
	tools/node tools/chromium.mjs .chromium
	@touch $@

node_modules/.stamp: package.json package-lock.json .npmrc tools/node .node/.stamp
	tools/node npm ci --no-progress --loglevel error
	@touch $@

.bench/.stamp: requirements/bench.txt requirements/uv.txt tools/environment tools/uv
	tools/environment .bench requirements/bench.txt
	@touch $@

.site/.stamp: requirements/docs.txt requirements/uv.txt tools/environment tools/uv
	tools/environment .site requirements/docs.txt
	@touch $@
