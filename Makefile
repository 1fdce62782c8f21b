# The one entry point for people and for CI. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build demo check fmt lint test bench proto proto-baseline docs fuzz

# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Builds the larder command, optimised
	@scripts/require.sh rust cc
	cargo build --profile demo -p larder-cli
	@echo "built $(TARGET)/demo/larder"

demo: ## Shows everything that works, on a realistic data set, in a temporary folder
	scripts/demo.sh

check: ## Type-checks everything
	@scripts/require.sh rust cc
	cargo check --workspace --all-targets

fmt: ## Formats code and contracts
	@scripts/require.sh rust rustfmt python node
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
	scripts/buf.sh format --write proto

lint: ## Checks formats, warnings, floors, contracts and breaking changes to them
	@scripts/require.sh cc rust rustfmt clippy python node
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	scripts/check-floors.py
	scripts/buf.sh format --diff --exit-code proto
	scripts/buf.sh lint proto
	scripts/buf.sh breaking proto --against proto/baseline.binpb
	cargo clippy --workspace --all-targets -- -D warnings

# The whole workspace is built in one go, so that every crate is built with the same features, once.
test: ## Runs every test
	@scripts/require.sh
	cargo build --workspace --all-targets
	cargo test --workspace
	LARDER_BIN="$(abspath $(TARGET))/debug/larder" "$$(scripts/python-env.sh)" -m pytest -q examples integration-tests

bench: ## Measures the embedded online store
	@scripts/require.sh rust cc
	cargo bench --profile demo -p larder-online-store

proto: ## Formats and lints the contracts, and finds breaking changes
	@scripts/require.sh python node
	scripts/buf.sh format --write proto
	scripts/buf.sh lint proto
	scripts/buf.sh breaking proto --against proto/baseline.binpb

proto-baseline: ## Makes the contracts as they are the ones that later changes are compared with
	@scripts/require.sh python node
	scripts/buf.sh build proto --exclude-source-info --output proto/baseline.binpb

docs: ## Builds the documentation of the crates
	@scripts/require.sh rust cc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@echo "built $(TARGET)/doc"

fuzz: ## Runs every fuzz target for FUZZ_SECONDS (60) each
	scripts/fuzz.sh
