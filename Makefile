# `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
SCRATCH := .build-test
PYTHON_TOOLS := $(or $(T2V_VENVS),$(CURDIR)/.venvs)/tools/bin
SWIFT_TEST := -c release -Xswiftc -enable-testing --scratch-path $(SCRATCH)
BIN := .build/release
# An import that Package.swift does not allow is an error even if the module happens to have been built.
STRICT := --explicit-target-dependency-import-check error
# Nobody debugs these programs with a debugger; its data takes a fourteenth of the build.
NO_DEBUG := -debug-info-format none
# A target's help is the text behind "##".
.PHONY: help setup build demo test process-test other-test python-test golden simulate fuzz chaos bench profile quality dist wheel wheel-test wheel-matrix wheel-root cluster format check ci clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## install the Debian packages that are missing (needs root or sudo)
	@deploy/setup.sh

build: setup ## build t2v-coordinator and t2v-worker
	swift build -c release $(NO_DEBUG) $(STRICT)

demo: build ## pretrain on the texts in demo/french, and let the real spaCy say whether it helps
	@demo/run.sh

test: setup ## run every test that can run here, the real spaCy included
	@Tests/reference/setup-venvs.sh
	swift build $(SWIFT_TEST) $(STRICT) --build-tests
	@$(MAKE) --no-print-directory -j2 process-test other-test
	@$(MAKE) --no-print-directory wheel-test

# Tests of whole programs mostly wait for each other's messages, so they run beside the rest. `swift test` would lock the build folder.
RUN_TESTS := $(SCRATCH)/release/t2vPackageTests.xctest --testing-library swift-testing --no-parallel
process-test:
	$(RUN_TESTS) --filter ProcessTests

other-test:
	$(RUN_TESTS) --skip ProcessTests
	@$(MAKE) --no-print-directory python-test

python-test: ## run the tests of python/ with the real spaCy 3.8, and with the programs if they are built
	@Tests/reference/setup-venvs.sh
	@python/tests/setup.sh
	T2V_BIN=$${T2V_BIN:-$$(ls -dt $(CURDIR)/$(SCRATCH)/release/t2v-coordinator $(CURDIR)/$(BIN)/t2v-coordinator 2>/dev/null | head -n 1 | xargs -r dirname)} \
	  $${T2V_VENVS:-.venvs}/spacy-3.8/bin/python -m pytest -q python/tests -c python/pyproject.toml

golden: ## make the golden dumps again with the real spaCy
	@Tests/reference/setup-venvs.sh
	Tests/GoldenTests/reference/make-golden.sh

simulate: ## run the state machines under a simulated network: SEEDS=n, or SEED=n to replay one
	swift build $(SWIFT_TEST) $(STRICT) --build-tests
	$(if $(SEED),T2V_SIM_SEED=$(SEED)) $(if $(SEEDS),T2V_SIM_SEEDS=$(SEEDS)) swift test $(SWIFT_TEST) --skip-build --filter SimulationTests

fuzz: ## a million wrong messages in each direction during a run: strangers, lying workers, a lying coordinator; MESSAGES=n SEED=n
	swift build $(SWIFT_TEST) $(STRICT) --build-tests
	T2V_FUZZ_MESSAGES=$(or $(MESSAGES),1000000) T2V_FUZZ_SEED=$(or $(SEED),1) swift test $(SWIFT_TEST) --skip-build --filter "StrangersTests|FuzzTests"

chaos: build ## random faults on real processes: MINUTES=n SEED=n
	Tests/chaos/chaos.py --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

bench: build ## compare with the real spaCy, side by side, on pinned cores
	@Tests/reference/setup-venvs.sh
	Benchmarks/bench.py $(BENCH)

profile: build ## one step by kernel: time, FLOP, bytes, efficiency
	$(BIN)/t2v-coordinator profile

quality: build ## how well pretrained weights predict hidden words' vectors, judged in the real spaCy
	@Tests/reference/setup-venvs.sh
	Tests/quality/run.sh

dist: setup ## a tarball of the worker that runs where there is only glibc
	deploy/dist.sh

wheel: setup ## a wheel with both programs and the Python package, in dist/
	deploy/wheel.sh

wheel-test: wheel ## install the wheel as users do, and run it
	T2V_WHEEL="$$(deploy/wheel.sh)" $${T2V_VENVS:-.venvs}/spacy-3.8/bin/python -m pytest -q python/tests/test_wheel.py -c python/pyproject.toml

wheel-matrix: wheel ## the same with every Python on this machine, spaCy 3.5 to 3.8
	deploy/wheel-matrix.sh

wheel-root: wheel ## follow docs/getting-started.md in a minimal Debian 11 without compilers (needs root and debootstrap)
	deploy/wheel-root.sh

cluster: dist build ## a disturbed run on hosts of network namespaces: the same bytes (needs root): SEED=n HOSTS=n
	deploy/netns/cluster-test --tarball "$$(ls -t dist/t2v-worker-*.tar.gz | head -n 1)" --hosts $(or $(HOSTS),4) $(if $(SEED),--seed $(SEED))

format: ## format the sources
	swift-format format -i -r -p Sources Tests Package.swift
	@Tests/reference/setup-venvs.sh tools
	cd python && $(PYTHON_TOOLS)/ruff format -q .

check: ## lint the sources; warnings are errors
	swift-format lint -s -r -p Sources Tests Package.swift
	@Tests/reference/setup-venvs.sh tools
	cd python && $(PYTHON_TOOLS)/ruff check -q . && $(PYTHON_TOOLS)/ruff format -q --check . && $(PYTHON_TOOLS)/mypy t2v

clean: ## remove what was built (not the cache in ~/.cache/t2v)
	rm -rf .build .build-test .build-dist dist
