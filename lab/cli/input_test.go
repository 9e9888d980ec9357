package cli

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// world is what bad input meets: networks with and without a router, a port, a
// project, and addresses and routes of the host's own.
const world = `
ip link add ext0 type veth peer name ext1
ip link set ext0 addrgenmode none up; ip link set ext1 addrgenmode none up
ip addr add 10.55.0.1/16 dev ext0
ip addr add 2001:db8:77::1/64 dev ext0 nodad
ip route add 10.66.0.0/16 via 10.55.0.9
ip route add 2001:db8:66::/48 via 2001:db8:77::9
sextant network create w ipv4=nat ipv4.address=192.168.150.1/24 ipv6=routed ipv6.address=2001:db8:5::1/64
sextant port create p1 network=w mac=52:54:00:aa:00:01 address=192.168.150.7
sextant router create r
sextant network create n2 router=r ipv4=nat ipv4.address=10.7.0.1/24 ipv6=none
sextant project create pp
sextant network create n3 --project pp ipv4=nat ipv4.address=10.77.0.1/24 ipv6=none
sextant pool create pool prefix=2001:db8:100::/48
sextant subnet create cut network=w pool=pool
ip netns add guest
sextant port plug p2 network=w netns=guest device=eth0
`

// badInput is what users type by mistake. Each is refused with one line that
// names what is wrong and says what to do.
var badInput = []struct {
	command string
	code    int
	want    string
}{
	// Keys.
	{"network create x colour=red", 64, `colour: unknown key; .`},
	{"network create x ipv4.mod=nat", 64, `ipv4\.mod: unknown key; did you mean ipv4\.mode\?`},
	{"network set w ipv7=nat", 64, `ipv7: unknown key; did you mean ipv.\?`},
	{"port create x network=w colour=red", 64, `colour: unknown key; .`},
	{"network set w", 64, `say what to change: key=value`},
	{"network set w nothing", 64, `"nothing" is no key=value; .`},
	{"network set w id=7", 64, `id: is shown, never set; .`},
	{"network set w mtu=big", 64, `mtu: "big" is no number; .`},
	{"network set w autostart=maybe", 64, `autostart: "maybe" is neither yes nor no; .`},
	{"network list colour=red", 64, `colour: unknown key`},
	{"network create x mtu=1400 mtu=1500", 64, `mtu is given twice; .`},
	{"network create x name=y", 64, `name is given twice; .`},
	// Commands and flags.
	{"netwrok list", 64, `unknown command "netwrok"; did you mean network\?`},
	{"network lst", 64, `unknown verb "lst"; did you mean list\?`},
	{"network create", 64, `needs a name`},
	{"network list --nope", 64, `unknown flag: --nope`},
	{"network list -o xml", 64, `say table, wide, json, yaml, csv`},
	{"network create x --wait=soon", 64, `wait`},
	{"why", 64, `needs an address`},
	{"status --server ftp://x", 64, `server: .*; write it as unix://`},
	// Addresses and prefixes.
	{"subnet create network=w prefix=10.8.0.1/24", 64, `needs a name`},
	{"subnet create s network=w prefix=10.8.0.1/24", 1, `prefix: .*10\.8\.0\.1/24.*host bits.*; .*10\.8\.0\.0/24`},
	{"pool create x prefix=2001:db8::1/48", 1, `prefix: .*host bits.*; .*2001:db8::/48`},
	{"network create x ipv6=routed ipv6.address=2001:db8::1/129", 1, `ipv6\.address: .*/129 is no prefix length.*; write /0 to /128`},
	{"network create x ipv4=nat ipv4.address=10.1.2.3/33", 1, `ipv4\.address: .*/33 is no prefix length.*; write /0 to /32`},
	{"network create x ipv6=routed ipv6.address=192.168.5.1/24", 1, `ipv6\.address: 192\.168\.5\.1 is an IPv4 address.*; `},
	{"network create x ipv4=nat ipv4.address=2001:db8::1/64", 1, `ipv4\.address: 2001:db8::1 is an IPv6 address.*; `},
	{"network create x ipv6=routed ipv6.address=2001:db8::g/64", 1, `ipv6\.address: .*"2001:db8::g" is no IPv4 or IPv6 address; write it as`},
	{"network create x ipv6=routed", 1, `ipv6\.address: .*; `},
	{"network create x ipv6=routed ipv6.address=2001:db8:9::1/80 ipv6.guests=slaac", 1, `ipv6\.guests: SLAAC needs a /64.*; `},
	{"network create x ipv6=proxied ipv6.address=2001:db8:9:2:f000::/80 ipv6.guests=slaac", 1, `ipv6\.guests: SLAAC needs a /64.*; say stateful`},
	{"network create x ipv6=proxied ipv6.address=2001:db8:9:2:f000::1/80", 1, `ipv6\.address: .*host bits.*; write 2001:db8:9:2:f000::/80`},
	{"network create x ipv6=delegated ipv6.address=2001:db8:9::1/64", 1, `ipv6\.address: .*the provider gives the prefix; leave it out`},
	{"network create x ipv6=nptv6 ipv6.address=fd00:9::1/80", 1, `ipv6\.address: fd00:9::1/80 is no /64.*; write fd00:9::1/64`},
	{"network create x ipv4=none nat64=64:ff9b::/95", 1, `nat64: .*64:ff9b::/95 is no NAT64 prefix; `},
	{"subnet create s network=w source=delegated prefix=2001:db8:9::/64", 1, `prefix: .*the prefix is chosen for you; leave it out`},
	{"uplink set ext0 prefixes=2001:db8:9::1/56", 1, `prefixes: .*host bits.*; write 2001:db8:9::/56`},
	{"uplink set ext0 prefixes=2001:db8:9::/80", 1, `prefixes: .*longer than a /64.*; .*ipv6=proxied`},
	{"uplink set ext0 hint=65", 1, `hint: no provider delegates a /65; say 32 to 64`},
	{"uplink set ext0 file=prefixes", 1, `file: "prefixes" is no absolute path; write it as /`},
	{"uplink set ext0 shared=perhaps", 64, `shared: "perhaps" is neither yes nor no; say one of them`},
	{"uplink set ext0 host=nowhere ask=off", 1, `host: there is no host "nowhere"; see .sextant host list`},
	{"uplink set ext0 ask=off --confirm 60s", 1, `confirm: only sharing an uplink, or its end, can wait to be confirmed; leave it out`},
	{"uplink set any pinned=ipv4", 1, `pinned: .*said of one link.*; name the link`},
	{"uplink set sixteencharacter ask=off", 1, `name: "sixteencharacter" has 16 characters.*; choose a shorter one`},
	{"uplink delete nope", 1, `nothing is wished of uplink "nope"; see sextant uplink list`},
	{"confirm", 1, `confirm: nothing waits to be confirmed`},
	{"port create x network=w address=10.9.9.9", 1, `addresses: 10\.9\.9\.9 is in no subnet.*; `},
	{"port create x network=w address=192.168.150.7", 1, `192\.168\.150\.7 is taken by port p1; `},
	{"port create x network=w address=192.168.150.1", 1, `192\.168\.150\.1 .*gateway.*; `},
	{"why nonsense", 1, `address: "nonsense" is no IPv4 or IPv6 address; `},
	{"subnet create s network=w prefix=192.168.150.128/25", 1, `prefix: .*overlaps 192\.168\.150\.0/24.*; choose another`},
	{"pool create x prefix=2001:db8:100:1::/64", 1, `prefix: .*overlaps 2001:db8:100::/48 of pool pool; choose another`},
	{"subnet create s network=w pool=pool prefix=2001:db8:200::/64", 1, `prefix: .*not in 2001:db8:100::/48.*; choose one in it`},
	{"subnet create s network=w pool=nope", 1, `pool: there is no pool "nope"; `},
	{"reservation create x network=w mac=52:54:00:aa:00:01 address=192.168.150.7", 1, `192\.168\.150\.7 is taken by port p1; choose another`},
	{"reservation create x network=w address=192.168.150.9", 1, `mac.*; `},
	{"network set w dns.servers-=2001:db8::53", 1, `dns\.servers: 2001:db8::53 is not in the list; .`},
	// Names.
	{"network create a/b", 1, `name: .*"a/b".*; use 1 to 63 letters`},
	{"network create ../../etc", 1, `name: .*; use 1 to 63 letters`},
	{"network create x bridge=sixteencharacter", 1, `bridge: "sixteencharacter" has 16 characters.*15.*; choose a shorter one`},
	{"network create x bridge=a/b", 1, `bridge: .*; `},
	{"port plug x network=w tap=sixteencharacter", 1, `tap: "sixteencharacter" has 16 characters.*; choose a shorter one`},
	{"port plug x network=w netns=guest device=sixteencharacter", 1, `device: "sixteencharacter" has 16 characters.*; choose a shorter one`},
	{"network create w", 1, `name: there is a network "w" already; choose another name`},
	{"network create x bridge=sx-w", 1, `bridge: .*sx-w.*w.*; `},
	{"network create x ipv4=bogus", 1, `ipv4: "bogus" is no mode.*; say one of`},
	{"network create x ipv4=proxied", 1, `ipv4: proxied is no mode of ipv4; say routed`},
	{"network create x ipv4=bridged ipv6=proxied link=ext0", 1, `ipv4: bridged IPv4 beside ipv6=proxied is not possible; say ipv6=bridged`},
	{"network create x nat64=maybe", 1, `nat64: "maybe" is no way to reach IPv4; say auto, off`},
	{"network create x mtu=12", 1, `mtu: .*; say 1500`},
	// MACs.
	{"port create x network=w mac=52:54:00:aa:00:01", 1, `mac: 52:54:00:aa:00:01 is taken by port p1; choose another one`},
	{"port set p2 network=w mac=52:54:00:aa:00:01", 1, `mac: 52:54:00:aa:00:01 is taken by port p1; choose another one`},
	{"port create x network=w mac=52:54:00:aa", 1, `mac: "52:54:00:aa" is no MAC address; write it as`},
	{"port create x network=w mac=01:00:5e:00:00:01", 1, `mac: .*multicast.*; `},
	{"port plug p1 network=w tap=t0 mac=52:54:00:aa:00:09", 1, `mac: port p1 is there already, with the MAC 52:54:00:aa:00:01; leave mac out`},
	{"port plug p1 network=w tap=t0 address=192.168.150.9", 1, `addresses: port p1 is there already, without 192\.168\.150\.9; leave the addresses out`},
	{"port plug p2 network=w tap=t0", 1, `device: port p2 is plugged into eth0 on host host; unplug it first`},
	// Overlap: with networks, with the host's addresses and routes.
	{"network create x ipv4=nat ipv4.address=192.168.150.1/24", 1, `ipv4\.address: .*overlaps 192\.168\.150\.0/24 of network w; choose another`},
	{"network create x ipv4=nat ipv4.address=192.168.0.1/16", 1, `ipv4\.address: .*overlaps 192\.168\.150\.0/24 of network w; `},
	{"network create x ipv4=nat ipv4.address=192.168.150.129/25", 1, `ipv4\.address: .*overlaps 192\.168\.150\.0/24 of network w; `},
	{"network create x ipv6=routed ipv6.address=2001:db8:5::2/64", 1, `ipv6\.address: .*overlaps 2001:db8:5::/64 of network w; `},
	{"network create x ipv6=routed ipv6.address=2001:db8::1/32 ipv6.guests=manual", 1, `ipv6\.address: .*overlaps 2001:db8:.*; `},
	{"network create x ipv6=routed ipv6.address=2001:db8:5:0:1::1/80 ipv6.guests=stateful", 1, `ipv6\.address: .*overlaps 2001:db8:5::/64 of network w; `},
	{"network create x ipv4=nat ipv4.address=10.55.0.1/16", 1, `ipv4\.address: .*overlaps 10\.55\.0\.0/16, which host host uses itself \(.*ext0\); choose another prefix`},
	{"network create x ipv4=nat ipv4.address=10.55.7.1/24", 1, `ipv4\.address: .*overlaps 10\.55\.0\.0/16, which host host uses itself \(.*ext0\); choose another prefix`},
	{"network create x ipv4=nat ipv4.address=10.66.1.1/24", 1, `ipv4\.address: .*overlaps 10\.66\.0\.0/16, which host host uses itself \(a route .*ext0\); choose another prefix`},
	{"network create x ipv6=routed ipv6.address=2001:db8:77::5/64", 1, `ipv6\.address: .*overlaps 2001:db8:77::/64, which host host uses itself \(.*ext0\); choose another prefix`},
	{"network create x ipv6=routed ipv6.address=2001:db8:66:1::1/64", 1, `ipv6\.address: .*overlaps 2001:db8:66::/48, which host host uses itself \(a route .*ext0\); choose another prefix`},
	// What is not there, and what is in use.
	{"network show nope", 1, `there is no network "nope"; see .sextant network list`},
	{"network delete nope", 1, `there is no network "nope"; `},
	{"port delete nope network=w", 1, `there is no port "nope" on network w; `},
	{"port create x network=nope", 1, `network: there is no network "nope"; `},
	{"port create x", 1, `network: the network is missing; say network=NAME`},
	{"network delete w", 1, `network w is used by ports p1, p2; delete the ports first`},
	{"router delete r", 1, `router r is used by network n2; delete what uses it first`},
	{"project delete pp", 1, `project pp is used by network n3; delete what uses it first`},
	{"pool delete pool", 1, `pool pool is used by subnet cut; delete what uses it first`},
	{"pool set pool prefix=2001:db8:200::/48", 1, `prefix: .*was cut from the pool.*; choose a prefix that has it`},
	{"subnet delete cut network=w", 1, `subnet cut is used by port p2; delete what uses it first`},
	{"router delete nope", 1, `there is no router "nope"; `},
	{"network set n2 router=", 1, `router: .*; .`},
	{"project delete default", 1, `the project "default" is always there; .`},
	{"network show w --project nope", 1, `project: there is no project "nope"; `},
	// What the host cannot do: said by it, and taken back.
	{"port plug x network=w netns=nope device=eth0", 1, `network namespace "nope" does not exist; make it: ip netns add nope`},
	{"port plug p1 network=w netns=nope device=eth0", 1, `network namespace "nope" does not exist; make it`},
	{"port plug x network=w netns=guest device=eth0", 1, `device: eth0 is taken by port p2; choose another one`},
	{"port plug x network=w tap=t0 owner=nobody-has-this-name", 1, `owner.*nobody-has-this-name.*; `},
	{"network create x ipv4=bridged ipv6=bridged link=nolink0", 1, `link.*nolink0.*; `},
	{"network create x ipv4=bridged ipv6=bridged link=ext0", 1, `link.*ext0.*address.*; `},
	{"lease release 192.168.150.99", 1, `lease.*192\.168\.150\.99.*; `},
	{"restore /etc/hostname", 1, `restore: .*; `},
	{"backup /nonexistent/file", 1, `/nonexistent`},
}

// TestBadInput: every mistake is one clear line and the right code, and
// changes nothing.
func TestBadInput(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh(world)
	h.unchanged(t, func() {
		for _, tc := range badInput {
			t.Run(strings.ReplaceAll(tc.command, "/", "|"), func(t *testing.T) {
				h.run(append([]string{"sextant"}, strings.Fields(tc.command)...)...).refused(t, tc.code, tc.want)
			})
		}
	})
}

// TestTakenBack: a change that the host cannot make is taken back, and what ran
// before runs again; what did not is left as it was changed.
func TestTakenBack(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh(`ip link add ext0 type veth peer name ext1
ip addr add 10.55.0.1/16 dev ext0
ip link add br8 type bridge; ip link set ext1 master br8
sextant network create n ipv4=nat ipv4.address=10.77.0.1/24 ipv6=none mac=52:54:00:00:00:77`)
	show := `sextant network show n | grep -v -e ^revision -e ^generation -e ^updated; ip -o addr show sx-n | grep -o 'inet 10[^ ]*'`
	before := h.sh(show)
	for link, want := range map[string]string{"ext0": `link.*ext0.*address.*; .`, "ext1": `link.*ext1 already belongs to br8; set link=br8`} {
		h.run("sextant", "network", "set", "n", "ipv4=bridged", "ipv6=bridged", "ipv4.address=", "link="+link).refused(t, 1, want)
		netnstest.Eventually(t, 10*time.Second, "everything is as before", func() error {
			after, err := h.Sh(h.ctx, show)
			if err == nil && after != before {
				err = errors.New(difference(before, after))
			}
			return err
		})
	}
	h.sh("sextant network set n ipv4=bridged ipv6=bridged ipv4.address= link=ext0 --no-wait")
	netnstest.Eventually(t, 10*time.Second, "the network has failed", func() error {
		_, err := h.Sh(h.ctx, "sextant network list | grep 'n  *failed'")
		return err
	})
	h.run("sextant", "network", "set", "n", "mtu=1400").refused(t, 1, `ext0.*; the change is kept, since it did not work before either`)
	h.sh("ip addr del 10.55.0.1/16 dev ext0")
	netnstest.Eventually(t, 10*time.Second, "it works once it can", func() error {
		_, err := h.Sh(h.ctx, "sextant network list | grep 'n  *running'; ip -o link show ext0 | grep 'master sx-n'")
		return err
	})
	// On somebody else's bridge there is nothing to make.
	h.sh("sextant network create lan ipv4=bridged ipv6=bridged link=br8; sextant network list | grep 'lan  *running'")
}

// TestStranger: somebody who is neither root nor of the group is told so,
// whatever they try.
func TestStranger(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	nobody := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	for _, tc := range []struct{ command, want string }{
		{"status", `you may not open /run/sextant/api\.sock; be root, or join the group sextant`},
		{"network create x", `you may not open /run/sextant/api\.sock; be root, or join`},
		{"cleanup", `you may not open /run/sextant/api\.sock; be root, or join`},
		{"serve --state-dir /tmp/x", `the daemon needs root.*; run it with sudo`},
	} {
		h.run(append(append(nobody[:len(nobody):len(nobody)], "sextant"), strings.Fields(tc.command)...)...).refused(t, 1, tc.want)
	}
}

// TestWithoutNft: on a host that lacks nft, whoever waits for it learns so and
// nothing stays; who does not wait is told by status, and has the network once
// nft is there.
func TestWithoutNft(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	tools := filepath.Join(h.Dir(), "tools")
	h.serve("env", "PATH="+tools)
	h.unchanged(t, func() {
		h.run("sextant", "network", "create", "x", "--wait=20s").refused(t, 1, `network create: .*nft.*; .*apt install nftables`)
	})
	r := h.run("sextant", "network", "create", "y", "--no-wait")
	if r.code != 0 || r.stderr != "" {
		t.Errorf("--no-wait: %+v", r)
	}
	if out := h.sh("sextant network list -o csv"); !strings.Contains(out, "\ny,") || strings.Contains(out, "\nx,") {
		t.Errorf("networks:\n%s", out)
	}
	netnstest.Eventually(t, 10*time.Second, "status says what is missing", func() error {
		_, err := h.Sh(h.ctx, `sextant status | grep 'problem: network y: .*nft.*apt install nftables'; sextant network list | grep 'y  *failed'`)
		return err
	})
	h.sh("mkdir " + tools + "; ln -s $(command -v nft) " + tools)
	netnstest.Eventually(t, 20*time.Second, "the network runs once nft is there", func() error {
		_, err := h.Sh(h.ctx, `sextant network list | grep 'y  *running'; nft list table inet sextant | grep -q sx-y`)
		return err
	})
}

// TestAgentAway: who waits for a host that does not answer is told so, and the
// wish is taken back.
func TestAgentAway(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh("sextant network create w")
	h.kill("serve", "agent")
	h.unchanged(t, func() {
		h.run("sextant", "network", "create", "x", "--wait=1s").refused(t, 1, `network create: the host did not answer within 1s; see sextant status`)
		h.run("sextant", "port", "plug", "p", "network=w", "tap=t0", "--wait=1s").refused(t, 1, `port plug: the host did not answer within 1s; see sextant status`)
	})
	// Reading goes on, and who does not wait is content.
	h.sh("sextant network create y --no-wait; sextant network show y; sextant network delete y --no-wait")
}

// TestServeRefuses: settings that cannot be are one line, too, and so is a
// second daemon.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh("printf 'state-dri = \"/x\"\n' >/etc/unknown.toml; printf 'x = [\n' >/etc/broken.toml")
	for _, tc := range []struct {
		flags string
		code  int
		want  string
	}{
		{"", 1, `process [0-9]+ .*; stop it, or give this one a directory of its own`},
		{"--state-dir=" + h.Dir() + "/other", 1, `another daemon \(process [0-9]+\) runs with run directory /run/sextant; stop it, or choose another`},
		{"--state-dir=relative", 1, `state-dir: "relative" is not an absolute path`},
		{"--run-dir=/" + strings.Repeat("x", 100), 1, `run-dir: .*too long.*; at most 90`},
		{"--log-level=loud", 1, `log-level: "loud" is no level; say debug`},
		{"--host=a/b", 1, `host: "a/b" is no host name; letters`},
		{"--store=ftp://x", 1, `store\.endpoints: .*ftp://x.*; for example https://`},
		{"--config=/nonexistent", 1, `config: .*/nonexistent`},
		{"--config=/etc/unknown.toml", 1, `/etc/unknown\.toml: state-dri: there is no such key; did you mean state-dir\?`},
		{"--config=/etc/broken.toml", 1, `/etc/broken\.toml: .*line`},
		{"--colour=red", 64, `unknown flag: --colour`},
		{"now", 64, `now`},
	} {
		args := strings.Fields(tc.flags)
		if !strings.Contains(tc.flags, "state-dir") {
			args = append(args, "--state-dir="+h.stateDir())
		}
		t.Run(tc.flags, func(t *testing.T) {
			h.run(append([]string{"sextant", "serve"}, args...)...).refused(t, tc.code, tc.want)
		})
	}
	h.ready()
}

// TestGroup: members of the group sextant may do what root may; who was thrown
// out may not, even while old sessions still have the group, nor may strangers
// who get at the socket.
func TestGroup(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	const gid = "64999"
	members := func(who string) {
		h.sh("grep -v ^sextant: /etc/group >/etc/group.new || true; echo sextant:x:" + gid + ":" + who + " >>/etc/group.new; mv /etc/group.new /etc/group")
	}
	members("nobody")
	h.serve()
	if mode := h.sh("stat -c '%a %U %G' /run/sextant/api.sock"); mode != "660 root sextant" {
		t.Errorf("the socket is %s", mode)
	}
	member := []string{"setpriv", "--reuid=65534", "--regid=65534", "--groups=" + gid, "sextant"}
	for _, command := range []string{"status", "network create x", "network delete x"} {
		if r := h.run(append(member[:len(member):len(member)], strings.Fields(command)...)...); r.code != 0 || r.stderr != "" {
			t.Errorf("%s: %+v", command, r)
		}
	}
	const stranger = `user nobody may not use Sextant; be root, or join the group: usermod -aG sextant nobody`
	members("")
	h.run(append(member, "network", "list")...).refused(t, 1, stranger)
	h.sh("chmod 666 /run/sextant/api.sock")
	h.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sextant", "network", "list").refused(t, 1, stranger)
}
