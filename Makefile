# Everything a user or developer does with the checkout. `make help` lists it.

PREFIX     ?= /usr/local
DESTDIR    ?=
BINDIR     ?= $(PREFIX)/bin
MANDIR     ?= $(PREFIX)/share/man
UNITDIR    ?= $(PREFIX)/lib/systemd/system
HOOKDIR    ?= $(PREFIX)/share/sextant/hooks
SYSUSERDIR ?= $(PREFIX)/lib/sysusers.d
SYSCONFDIR ?= /etc

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILDPKG   := github.com/sextant-net/sextant/internal/build
LDFLAGS    := -s -w -X $(BUILDPKG).version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Go may have been installed by `make deps` a moment ago.
export PATH := $(PATH):/usr/local/go/bin
export GOTOOLCHAIN ?= auto
# Packages tested at once: kernel tests load the machine more than the compiler does.
TESTP      ?= $(shell nproc)
TIMEOUT    ?= 10m

.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: build install uninstall deps deps-test test test-fast vmtest check bench demo demo-uplink demo-down fuzz clean help

build: ## Build bin/sextant, static
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/sextant ./cmd/sextant

install: ## Install the binary, units, group, completion, man pages and hooks (DESTDIR, PREFIX)
	@test -x bin/sextant || { echo 'make install: bin/sextant is missing: run make build first' >&2; exit 1; }
	install -D -m 0755 bin/sextant $(DESTDIR)$(BINDIR)/sextant
	install -d $(DESTDIR)$(UNITDIR)
	for unit in systemd/*.service systemd/*.socket; do \
		sed 's|@BINDIR@|$(BINDIR)|g' $$unit > $(DESTDIR)$(UNITDIR)/$${unit##*/} && \
		chmod 0644 $(DESTDIR)$(UNITDIR)/$${unit##*/} || exit 1; done
	install -D -m 0644 systemd/sysusers.conf $(DESTDIR)$(SYSUSERDIR)/sextant.conf
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d $(DESTDIR)$(MANDIR)/man1
	bin/sextant completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/sextant
	bin/sextant completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_sextant
	bin/sextant completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/sextant.fish
	bin/sextant man --sources docs/man $(DESTDIR)$(MANDIR)/man1
	install -D -m 0755 -t $(DESTDIR)$(HOOKDIR) hooks/networkd-prefixes hooks/networkmanager-dispatcher
	install -D -m 0644 -t $(DESTDIR)$(HOOKDIR) hooks/dhcpcd-exit-hook
	@if [ -z '$(DESTDIR)' ]; then scripts/installed.sh; fi

uninstall: ## Remove what install put there; networks stay (see sextant cleanup)
	rm -f $(DESTDIR)$(BINDIR)/sextant $(DESTDIR)$(UNITDIR)/sextant.service $(DESTDIR)$(UNITDIR)/sextant.socket \
		$(DESTDIR)$(SYSUSERDIR)/sextant.conf $(DESTDIR)$(PREFIX)/share/bash-completion/completions/sextant \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_sextant \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/sextant.fish $(DESTDIR)$(MANDIR)/man1/sextant*.1
	rm -f $(patsubst hooks/%,$(DESTDIR)$(HOOKDIR)/%,$(wildcard hooks/*))
	@rmdir $(DESTDIR)$(HOOKDIR) $(DESTDIR)$(PREFIX)/share/sextant 2>/dev/null || true

deps: ## Install what is missing: Debian packages (services kept from starting), Go
	@scripts/deps.sh

deps-test:
	@scripts/deps.sh test

# vmtest comes first, so that go test's own lines are the last ones.
test: deps-test build vmtest ## Run every test: unit, kernel, scenarios, virtual machine
	go vet ./...
	go test -p $(TESTP) -timeout $(TIMEOUT) ./...

test-fast: build ## Run the tests that need neither the lab nor a virtual machine
	go test -short -p $(TESTP) -timeout 2m $$(go list ./... | grep -v -e /lab -e /bench -e /compat)

vmtest: build ## Run the golden scenarios on the distribution's own kernel, in one boot
	@scripts/vmtest.sh

check: ## Judge the sources: gofmt, vet, staticcheck, the laws of the architecture
	@bad=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$bad" || { echo "gofmt: $$bad" >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	go test -count=1 ./internal/archtest

fuzz: ## Run every fuzz target for FUZZTIME each (default 10s)
	@scripts/fuzz.sh

bench: build ## Measure against the real peers; figures go to docs/benchmarks.md
	@scripts/deps.sh bench
	go run ./bench -write $(BENCHFLAGS)

demo: deps build ## The whole product on real guests, away from the machine's own network
	@go build -o bin/demo ./lab/demo && exec bin/demo $(DEMOFLAGS)

demo-uplink: deps-test build ## How networks follow their provider: prefixes shared, delegated, changed, lost
	@go build -o bin/demo ./lab/demo && exec bin/demo -uplink $(DEMOFLAGS)

demo-down: ## Remove whatever a demo left behind
	@go build -o bin/demo ./lab/demo && exec bin/demo -down

clean: ## Remove what was built
	rm -rf bin

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
