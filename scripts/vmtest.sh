#!/bin/sh
# Runs the tests that ask for a virtual machine, on the distribution's own
# kernel, in one boot. Arguments: see `go run ./lab/vmtest -h`.
set -eu
cd "$(dirname "$0")/.."
exec go run ./lab/vmtest "$@"
