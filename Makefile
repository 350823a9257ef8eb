# Sosei: what can be made. The default goal builds the program and touches nothing outside this tree.
# `make demo`, `make test` and `make bench` need root: they use loop devices and mounts.

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: build release tools demo iso run test test-vm-all test-faults-all check audit fuzz bench clean

build:
	cargo build --package sosei

release:
	cargo build --release --package sosei

# The real tools that make and check samples, and what the build needs.
tools:
	$(SUDO) tests/tools.sh

# The main job: a sample server is saved, wiped and brought back.
demo: tools release
	$(SUDO) tests/demo/run.sh target/release/sosei

# The live medium, for CD, USB stick and network: build/medium/sosei.iso. With firmware that is not free:
# SOSEI_FIRMWARE=DIRECTORY, SOSEI_FIRMWARE_PACKAGES="firmware-bnx2x firmware-qlogic".
iso: tools release
	image-build/medium.sh target/release/sosei build/medium

# A sample server that boots the live medium, in this terminal; leaves nothing behind. Ctrl-A X ends it.
# SOSEI_KVM=1 uses hardware support, where it works.
run: tools
	cargo build --workspace
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" "SOSEI_KVM=$$SOSEI_KVM" target/debug/sample_server

# Everything that must pass.
test: tools check
	cargo build --workspace
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" cargo test --workspace --no-fail-fast

# All ways to boot the live medium, and all that its tests do.
test-vm-all: tools
	cargo build --workspace
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" cargo test --workspace --test 'vm_*' -- --include-ignored --nocapture

# Saves to all targets in the network with faults at random places, a hundred each.
test-faults-all: tools
	cargo build --workspace
	$(SUDO) env "PATH=$$PATH" "HOME=$$HOME" cargo test --workspace --test 'targets_*_random' -- --include-ignored

# Style and lints.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# Licences, sources and known vulnerabilities of everything that is linked; needs cargo-deny and its database.
audit:
	cargo deny check

# Fuzzes each parser for EACH=60 seconds; needs a nightly compiler and cargo-fuzz.
fuzz:
	for target in ext swap ntfs fat xfs btrfs exfat f2fs hfsplus jfs reiserfs ufs vmfs foreign lvm md drbd layout image; do \
	  (cd tests && cargo +nightly fuzz run $$target -- -max_total_time=$(or $(EACH),60)) || exit 1; done

# Measures side by side with other tools and writes docs/benchmarks.md; prints the rates of targets in the network.
bench: tools release
	cargo build --release --package tests --bins
	$(SUDO) tests/bench/run.sh target/release
	$(SUDO) tests/bench/targets.sh target/release

clean:
	cargo clean
	rm -rf build
