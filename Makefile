# SPDX-License-Identifier: LGPL-2.1-or-later
# Two commands for a newcomer: `make demo` and `make check`. The build itself is meson's.

BUILD   ?= build
DESTDIR ?=
PREFIX  ?= /usr/local

help:
	@echo "make demo      install what it needs, build, perform the talk on real packages"
	@echo "make check     install what it needs, build, run all tests"
	@echo "make check-full  the same, and the long ones: in a bare Debian root too"
	@echo "make build     build every program into $(BUILD)/bin"
	@echo "make install   install (DESTDIR=, PREFIX=)"
	@echo "make fuzz      fuzz the readers of images, dumps, streams and tars for half an hour (SECONDS=)"
	@echo "make bench     measure against the real peers that are installed"
	@echo "make lint      formatting, layers, include cycles, sizes, needed libraries"
	@echo "make deps      install the packages that building and testing need"
	@echo "make clean     remove build folders and what the demo made"

deps:
	@scripts/deps

# configured once; ninja reconfigures by itself when a meson.build changes
$(BUILD)/build.ninja: | deps
	@meson setup $(BUILD) --prefix=$(PREFIX) >/dev/null

build: deps $(BUILD)/build.ninja
	@ninja -C $(BUILD)

check: build
	@scripts/check

check-full: build
	@scripts/check --full

demo: build
	@demo/run

fuzz: build
	@tests/fuzz/run --long $(SECONDS)

bench: build
	@bench/run

lint: build
	@scripts/lint

# a build folder that was configured for another prefix has its helpers elsewhere: it is told first
install: build
	@meson introspect $(BUILD) --buildoptions | grep -qF '"name": "prefix", "value": "$(PREFIX)"' || \
		{ meson configure $(BUILD) -Dprefix=$(PREFIX) && ninja -C $(BUILD); }
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild
	@install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	@scripts/man $(BUILD)/bin/atomic >$(DESTDIR)$(PREFIX)/share/man/man1/atomic.1
	@install -m 644 scripts/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/atomic

clean:
	@demo/run --clean
	@rm -rf $(BUILD) build-*

.PHONY: help deps build check check-full demo fuzz bench lint install clean
.DEFAULT_GOAL := help
