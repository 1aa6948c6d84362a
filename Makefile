.DEFAULT_GOAL := help
.PHONY: help demo build dist test soak bench fuzz check

# The scripts and the tests look for what is built below target/.
export CARGO_TARGET_DIR := $(CURDIR)/target

help: ## Lists these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: build ## Runs three projections over 50,000 events and shows the rows
	@tools/demo

build: ## Builds target/release/gnomon and target/projections/*.wasm
	@tools/wasm-toolchain
	cargo build --release --locked -p gnomon -p gnomon-demo
	@tools/build-projections target/release/gnomon

dist: ## Builds target/dist/gnomon for production: quicker, but slow to compile
	cargo build --profile dist --locked -p gnomon

test: ## Runs all tests, on a PostgreSQL server of their own
	@tests/run

soak: ## Strikes the hosts thousands of times: make soak ROUNDS=3000
	@GNOMON_SOAK_ROUNDS=$(or $(ROUNDS),3000) tests/run --test end_to_end -- --nocapture faults:: foreign_writers:: generation_kills::

bench: ## Measures speed and cost on this machine: make bench EVENTS=1000000
	@tests/bench all --events $(or $(EVENTS),1000000) --output target/bench.json

fuzz: ## Feeds foreign bytes to what reads them: make fuzz SECONDS=600
	@GNOMON_FUZZ_SECONDS=$(or $(SECONDS),60) tools/fuzz

check: ## Checks format, lints, docs and packages
	cargo fmt --all --check
	rustfmt --edition 2024 --check fuzz/targets/*.rs
	cargo tree --quiet --locked --depth 0 --manifest-path fuzz/Cargo.toml >/dev/null
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --package gnomon --lib --no-default-features --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked
	@tools/check-packages
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check bans licenses sources; \
		else echo "cargo-deny is not installed: licences and sources of dependencies were not checked"; fi
