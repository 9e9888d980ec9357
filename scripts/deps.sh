#!/bin/sh
# Installs what building, testing and the demo need and this machine lacks:
# packages of the distribution, with their services kept from starting, and Go
# if there is none or it is too old. Does nothing, quickly, when all is there.
# With the argument "bench" also the peers that benchmarks compare with, with
# "test" what the tests run beside.
set -eu
cd "$(dirname "$0")/.."

say() { echo "deps: $*"; }
die() { echo "deps: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Some tools live in sbin, which is not in everybody's PATH.
PATH=$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
export PATH

# need PACKAGE COMMAND...: the package is needed unless every command is there.
missing=
need() {
	package=$1
	shift
	for command; do
		have "$command" || { missing="$missing $package"; return 0; }
	done
}

# needfile PACKAGE PATH...: the package is needed unless one of the files is there.
needfile() {
	package=$1
	shift
	for path; do
		if [ -e "$path" ]; then return 0; fi
	done
	missing="$missing $package"
}

arch=$(uname -m)
case $arch in
x86_64) qemu=qemu-system-x86 kernel=linux-image-cloud-amd64 kernels=/boot/vmlinuz-*-amd64 ;;
aarch64) qemu=qemu-system-arm kernel=linux-image-cloud-arm64 kernels=/boot/vmlinuz-*-arm64 ;;
*) die "no kernel and emulator known for $arch" ;;
esac
id=$(. /etc/os-release 2>/dev/null && echo "${ID:-}")
if [ "$id" = ubuntu ]; then
	kernel=linux-image-virtual kernels=/boot/vmlinuz-*-generic
fi

need ca-certificates update-ca-certificates
need git git
need make make
need iproute2 ip tc bridge ss
need iputils-ping ping
need nftables nft
need procps ps sysctl
need psmisc fuser
need kmod modprobe
need hostname hostname
need util-linux unshare nsenter
need isc-dhcp-client dhclient
need dhcpcd-base dhcpcd
need ndisc6 rdisc6 ndisc6
need radvd radvd
need dnsmasq-base dnsmasq
need "$(have apt-cache && apt-cache show bind9-dnsutils >/dev/null 2>&1 && echo bind9-dnsutils || echo dnsutils)" dig
need netcat-openbsd nc
need tcpdump tcpdump
need conntrack conntrack
need e2fsprogs mkfs.ext4
need mount mount
need dbus-daemon dbus-daemon
need iptables iptables iptables-nft-save
# The tests run beside these programs, each in a namespace of its own.
if [ "${1:-}" = test ]; then
	need ufw ufw
	need firewalld firewalld firewall-cmd
	need network-manager NetworkManager nmcli
	# Clients and judges of the address servers (lab/clients).
	need udhcpc udhcpc
	need wide-dhcpv6-client dhcp6c
	need cloud-init cloud-init
	need isc-dhcp-relay dhcrelay
	need kea-admin perfdhcp
	# Providers that delegate prefixes (internal/uplink).
	need kea-dhcp6-server kea-dhcp6
	need isc-dhcp-server dhcpd
	need "$(have apt-cache && apt-cache show radvdump >/dev/null 2>&1 && echo radvdump || echo radvd)" radvdump
	# The NAT64 translator that the agent runs (internal/translate).
	need tayga tayga
	need tftp-hpa tftp
	need atftp atftp
	# Whose network cards have iPXE, for machines that boot by their firmware.
	need qemu-system-x86 qemu-system-x86_64
	need curl curl
	need python3-scapy scapy
	# To build busybox's udhcpc6 (scripts/udhcpc6.sh).
	need gcc gcc
	needfile libc6-dev /usr/include/stdio.h
	need dpkg-dev dpkg-source
	need bzip2 bzip2
	need xz-utils xz
fi
need systemd systemd-analyze
needfile systemd /lib/systemd/systemd-networkd /usr/lib/systemd/systemd-networkd
need etcd-server etcd
need etcd-client etcdctl
if [ "${1:-}" = test ] || [ "${1:-}" = bench ]; then
	# Whose networks ours are to be like (compat/libvirt), and faster than (bench).
	need libvirt-daemon libvirtd
	need libvirt-clients virsh
	if have apt-cache && apt-cache show libvirt-daemon-driver-network >/dev/null 2>&1; then
		needfile libvirt-daemon-driver-network /usr/lib/*/libvirt/connection-driver/libvirt_driver_network.so
	fi
fi
if [ "${1:-}" = bench ]; then
	# The other peers to compare with.
	need kea-dhcp4-server kea-dhcp4
	need kea-dhcp6-server kea-dhcp6
	need kea-admin kea-admin perfdhcp
	need ndppd ndppd
	# Kea's leases in PostgreSQL: a cluster of the benchmark's own.
	needfile postgresql /usr/lib/postgresql/*/bin/postgres
	need postgresql-client psql
fi
needfile busybox-static /usr/share/doc/busybox-static /usr/share/doc/busybox-static/copyright
need "$qemu" "qemu-system-$(echo "$arch" | sed s/arm64/aarch64/)"
# shellcheck disable=SC2086 # the pattern is meant to be expanded
needfile "$kernel" $kernels
needfile "$(have apt-cache && apt-cache show virtiofsd >/dev/null 2>&1 && echo virtiofsd || echo qemu-system-common)" \
	/usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd /usr/bin/virtiofsd

# The Go that go.mod asks for. A Go of 1.21 or newer fetches it by itself.
go_ok() { have go && (GOTOOLCHAIN=${GOTOOLCHAIN:-auto} go version) >/dev/null 2>&1; }
go_new_enough() {
	v=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//') || return 1
	[ "$(printf '%s\n' 1.21 "$v" | sort -V | head -n 1)" = 1.21 ]
}
need_go=
if ! { have go && go_new_enough; }; then need_go=yes; fi

# beside fetches what is run from where it is unpacked or built, not installed.
# systemd-resolved takes /etc/resolv.conf over when it is installed: where it is
# not, the test that needs it runs it from its package.
beside() {
	resolved=$PWD/bin/resolved
	if [ ! -x /lib/systemd/systemd-resolved ] && [ ! -x "$resolved/lib/systemd/systemd-resolved" ] &&
		[ ! -x "$resolved/usr/lib/systemd/systemd-resolved" ]; then
		say "fetching systemd-resolved"
		mkdir -p "$resolved"
		(cd "$resolved" && { apt-get -qq download systemd-resolved || { apt-get -qq update && apt-get -qq download systemd-resolved; }; } 2>/dev/null &&
			dpkg -x systemd-resolved_*.deb . && rm -f systemd-resolved_*.deb) || die "apt-get could not fetch systemd-resolved"
	fi
	if [ "${1:-}" = test ]; then scripts/udhcpc6.sh; fi
}

if [ -z "$missing" ] && [ -z "$need_go" ]; then
	beside "$@"
	go_ok || die "go cannot provide the version that go.mod asks for: $(go version 2>&1)"
	exit 0
fi

if [ "$(id -u)" != 0 ]; then
	die "missing:$missing${need_go:+ golang}; run \`make deps\` as root to install them"
fi
have apt-get || die "missing:$missing${need_go:+ golang}; install them with this system's package manager"

# A policy-rc.d that says no keeps new packages' services from starting, so
# that the machine's own network is left alone. It is there for this run only.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	trap 'exit 130' INT TERM HUP
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 0755 $policy
fi
export DEBIAN_FRONTEND=noninteractive

updated=
install() {
	if [ -z "$updated" ]; then
		apt-get -qq update || say "apt-get update failed: trying with the lists there are"
		updated=yes
	fi
	# Recommended packages bring daemons and desktops; none is needed.
	apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "$@" >/dev/null
}

if [ -n "$missing" ]; then
	say "installing$missing"
	# shellcheck disable=SC2086 # a list of words
	install $missing || die "apt-get could not install$missing"
	# Nor are they to start with the machine's next boot.
	case "$missing " in *" cloud-init "*) : >/etc/cloud/cloud-init.disabled ;; esac
	if [ -d /run/systemd/system ]; then
		for unit in radvd etcd firewalld NetworkManager isc-dhcp-relay wide-dhcpv6-client postgresql kea-dhcp4-server kea-dhcp6-server isc-dhcp-server tayga ndppd; do
			case "$missing " in
			*" $unit "* | *" $unit-server "*) systemctl -q disable "$unit" || true ;;
			esac
		done
		case "$missing " in *" network-manager "*) systemctl -q disable NetworkManager || true ;; esac
	fi
fi

# Debian 12's own Go (1.19) cannot fetch a newer one; its backports' can.
if [ -n "$need_go" ]; then
	say "installing Go"
	apt-cache show golang-go >/dev/null 2>&1 || { apt-get -qq update; updated=yes; }
	install golang-go || true
	if ! { have go && go_new_enough; }; then
		codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
		list=/etc/apt/sources.list.d/sextant-backports.list
		if ! apt-cache policy | grep -q "n=$codename-backports"; then
			echo "deb http://deb.debian.org/debian $codename-backports main" >$list
			updated=
		fi
		install -t "$codename-backports" golang-go ||
			{ rm -f $list; die "no Go of at least 1.21: install it from https://go.dev/dl/ into /usr/local/go"; }
	fi
fi
beside "$@"
go_ok || die "go cannot provide the version that go.mod asks for: $(go version 2>&1)"
say "everything is there"
