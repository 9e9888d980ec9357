#!/bin/sh
# Builds bin/udhcpc6, busybox's DHCPv6 client, from the distribution's own
# source package: Debian's and Ubuntu's busybox come without the applet. Does
# nothing when it is there. Takes some seconds and about 40 MB below /tmp.
set -eu
cd "$(dirname "$0")/.."
out=$PWD/bin/udhcpc6
if [ -x "$out" ]; then exit 0; fi
say() { echo "deps: $*"; }
die() { echo "deps: $*" >&2; exit 1; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/tree"
cd "$dir"

# The sources are not among this machine's lists, and are not put there.
. /etc/os-release
case ${ID:-} in
ubuntu) url=http://archive.ubuntu.com/ubuntu key=/usr/share/keyrings/ubuntu-archive-keyring.gpg ;;
*) url=http://deb.debian.org/debian key=/usr/share/keyrings/debian-archive-keyring.gpg ;;
esac
echo "deb-src [signed-by=$key] $url ${VERSION_CODENAME:-stable} main" >sources.list
apt() {
	apt-get -qq -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root "$@"
}
say "building busybox udhcpc6"
{ apt update && apt source --download-only busybox; } >log 2>&1 || { cat log >&2; die "apt-get could not fetch the source of busybox"; }
dpkg-source --no-check -x busybox_*.dsc tree/busybox >log 2>&1 || { cat log >&2; die "the source of busybox could not be unpacked"; }
cd tree/busybox
{
	make allnoconfig
	for c in LONG_OPTS SHOW_USAGE FEATURE_IPV6 UDHCPC UDHCPC6 FEATURE_UDHCPC6_RFC3646 FEATURE_UDHCPC6_RFC4704 \
		FEATURE_UDHCPC6_RFC4833 FEATURE_UDHCPC6_RFC5970 FEATURE_UDHCP_PORT FEATURE_SYSLOG; do
		sed -i "s/^# CONFIG_$c is not set/CONFIG_$c=y/" .config
	done
	sed -i -e 's/^CONFIG_UDHCP_DEBUG=.*/CONFIG_UDHCP_DEBUG=2/' \
		-e 's|^CONFIG_UDHCPC_DEFAULT_SCRIPT=.*|CONFIG_UDHCPC_DEFAULT_SCRIPT="/etc/udhcpc/default.script"|' \
		-e 's/^CONFIG_UDHCPC_DEFAULT_INTERFACE=.*/CONFIG_UDHCPC_DEFAULT_INTERFACE="eth0"/' .config
	yes '' | make oldconfig
	make -j"$(nproc)"
} >../../log 2>&1 || { tail -n 40 ../../log >&2; die "busybox could not be built"; }
mkdir -p "$(dirname "$out")"
# busybox is what it is called.
install -m 0755 busybox "$out"
