#!/bin/sh
# Runs a command, for example `make test`, and fails if the machine is not as it
# was: processes of the command, network namespaces and whoever lives in one,
# links, nft tables, mounts, files in /run and /tmp, what the kernel is told of
# neighbours and forwarding. Prints what came (>) and what went (<).
#
#	scripts/traces.sh COMMAND...
set -eu

# What the command starts has this in its environment, unless it takes care
# not to; such are found where they live.
mark=SEXTANT_TRACES=$$

# look prints what is there, a line each. A kernel module makes links of its own
# as it is loaded, and `ip netns` mounts its directory on itself.
look() {
	ls -A /run/netns 2>/dev/null | sed 's/^/namespace /'
	net=$(readlink /proc/self/ns/net)
	for p in /proc/[0-9]*; do
		ns=$(readlink "$p/ns/net" 2>/dev/null) || continue
		if [ "$ns" != "$net" ] || { cat "$p/environ" | tr '\0' '\n' | grep -qx "$mark"; } 2>/dev/null; then
			echo "process ${p#/proc/} $({ cat "$p/cmdline" | tr '\0' ' ' | cut -c1-120; } 2>/dev/null)"
		fi
	done
	ls /sys/class/net | grep -Evx '(tunl|gre|gretap|erspan|sit|ip6tnl|ip6gre|ip_vti|ip6_vti|dummy|bond|ifb)[01]' | sed 's/^/link /'
	nft list tables 2>/dev/null || true
	awk '$5 !~ "^/(run/netns|sys)(/|$)" { print "mount", $5 }' /proc/self/mountinfo
	find /run -mindepth 1 -maxdepth 2 2>/dev/null | grep -Ev '^/run/(netns|user|systemd|udev|log|lock|credentials)(/|$)' | sed 's/^/file /'
	find /tmp -mindepth 1 -maxdepth 1 \( -name 'sxt*' -o -name 'sextant*' -o -name 'Test*' \) | sed 's/^/file /'
	grep -rs . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv[46]/neigh /proc/sys/net/ipv[46]/conf/all /proc/sys/net/ipv[46]/conf/default | sed 's/^/setting /'
}

before=$(mktemp) after=$(mktemp)
trap 'rm -f "$before" "$after"' EXIT
look | sort >"$before"
code=0
env "$mark" "$@" || code=$?
# What was told to end may need a moment.
for try in 1 2 3 4 5 6 7 8 9 10; do
	look | sort >"$after"
	if cmp -s "$before" "$after"; then
		exit $code
	fi
	sleep 1
done
echo "$0: the machine is not as it was before $*:" >&2
diff "$before" "$after" | grep '^[<>]' >&2
[ $code -ne 0 ] || code=1
exit $code
