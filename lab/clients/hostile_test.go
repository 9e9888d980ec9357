package clients

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// agent is the number of the agent's process, which must stay the same.
func (w *world) agent(t *testing.T) int {
	t.Helper()
	var r struct{ PID int }
	if text := w.sh(t, "cat /run/sextant/agent.pid"); json.Unmarshal([]byte(text), &r) != nil || r.PID == 0 {
		t.Fatalf("agent.pid: %q", text)
	}
	return r.PID
}

// anonymous is how much memory of its own a process has, in bytes.
func anonymous(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(section(string(text), "RssAnon:", "\n"))
	kb, err := strconv.Atoi(f[1])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// nested puts a message into so many relays' messages (RFC 9915 section 9.1).
func nested(levels int, inner []byte) []byte {
	for i := range levels {
		b := make([]byte, 34)
		b[0], b[1] = 12, byte(i)
		copy(b[18:], []byte{0xfe, 0x80, 15: 1})
		inner = append(b, option6(9, inner...)...)
	}
	return inner
}

// hostile6 are messages to a DHCPv6 server that no client sends.
func hostile6() map[string][]byte {
	duid := []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}
	good := solicit(7, duid, 1)
	out := map[string][]byte{
		"nothing": {}, "one octet": {1}, "a length beyond the end": append(good, 0, 6, 0xff, 0xff), "zeros": make([]byte, 60_000),
		"ones":           bytes.Repeat([]byte{0xff}, 60_000),
		"30 relays":      nested(30, good),
		"400 relays":     nested(400, good),
		"an option bomb": append(good, bytes.Repeat(option6(6), 15_000)...),
		"empty IAs":      append(good, bytes.Repeat(option6(3, make([]byte, 12)...), 3_700)...),
		"IAs in IAs":     append(good, inside(3, 12, 1_000)...),
		"addresses":      append(good, option6(3, append(make([]byte, 12), bytes.Repeat(option6(5, make([]byte, 24)...), 2_000)...)...)...),
		"a huge DUID":    solicit(7, make([]byte, 60_000), 1),
		"a huge request": append(good, option6(6, make([]byte, 60_000)...)...),
		"a name loop":    append(good, option6(39, 0, 0xc0, 1, 0xc0, 0)...),
		"no message":     append([]byte{12, 0}, make([]byte, 32)...),
		"a reply":        append([]byte{7}, good[1:]...),
		"a relay-reply":  append([]byte{13}, nested(1, good)[1:]...),
		"a type unknown": append([]byte{99}, good[1:]...),
	}
	for i := range good {
		out[fmt.Sprintf("cut to %d", i)] = good[:i]
	}
	return out
}

// inside nests an option in itself, behind a header of its own.
func inside(code uint16, header, levels int) []byte {
	b := []byte(nil)
	for range levels {
		b = option6(code, append(make([]byte, header), b...)...)
	}
	return b
}

// hostile4 are messages to a DHCPv4 server that no client sends.
func hostile4() map[string][]byte {
	m := [6]byte{2, 0, 0, 0, 0, 1}
	good := discover(7, m)
	body := good[:len(good)-1] // without the end
	join := func(more ...byte) []byte { return append(bytes.Clone(body), more...) }
	wrong := func(at int, v byte) []byte { b := bytes.Clone(good); b[at] = v; return b }
	out := map[string][]byte{
		"nothing": {}, "zeros": make([]byte, 60_000), "ones": bytes.Repeat([]byte{0xff}, 60_000),
		"no end": body, "a length beyond the end": join(12, 255, 'a'), "a code alone": join(12),
		"overload to itself":  join(append(option4(52, 3), 255)...), // file and sname hold options, which say so again
		"an option bomb":      join(bytes.Repeat([]byte{55, 0}, 30_000)...),
		"pads":                join(make([]byte, 60_000)...),
		"long option":         join(bytes.Repeat(append([]byte{119, 255}, make([]byte, 255)...), 230)...),
		"a name loop":         join(append(option4(81, 0, 0, 0, 0xc0, 3), 255)...),
		"a broken relay":      join(append(option4(82, 1, 200, 'a'), 255)...),
		"a relay's bomb":      join(append(option4(82, bytes.Repeat([]byte{1, 0}, 127)...), 255)...),
		"a hardware address":  wrong(2, 255),
		"another hardware":    wrong(1, 0),
		"a reply":             wrong(0, 2),
		"many hops":           wrong(3, 255),
		"a broken cookie":     wrong(236, 0),
		"an empty message":    wrong(241, 0),
		"message types twice": join(53, 1, 3, 53, 1, 7, 255),
	}
	for i := range good {
		out[fmt.Sprintf("cut to %d", i)] = good[:i]
	}
	file := bytes.Clone(join(append(option4(52, 3), 255)...))
	copy(file[44:], option4(52, 3)) // sname
	copy(file[108:], option4(52, 3))
	out["overload in each"] = file
	return out
}

// TestHostileMessages: whatever comes, the servers of all protocols live, and a
// guest gets its answers afterwards, in the same process.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "dig", "rdisc6")
	n := newNetwork(t, "boot.root=/run dhcp.relays=fe80::/10,0.0.0.0/0")
	pid := n.agent(t)
	bad, known := n.stranger("bad"), n.port("known", "")
	bad.up()
	known.up()
	bad.sh(fmt.Sprintf("ip addr add %v/24 dev eth0; ip -6 addr add %v/64 dev eth0 nodad", host4(n, 250), host6(n, "250")))
	w := bad.wire()
	for _, b := range hostile6() {
		w.to6(t, "ff02::1:2", 547, b)
		w.to6(t, n.gate6.String(), 547, b)
	}
	for _, b := range hostile4() {
		w.to4(t, n.gate4.String(), 67, b)
		w.frame(t, discoverFrame([6]byte{2, 0, 0, 0, 0, 1}, b[:min(len(b), 1400)]))
	}
	// Neighbour discovery: options of no length would never end (RFC 4861
	// section 4.6).
	for kind := range 5 {
		for _, more := range [][]byte{{1, 0}, {1, 255}, bytes.Repeat([]byte{1, 1, 0, 0, 0, 0, 0, 0}, 170), {24, 3, 200, 0}, nil} {
			m := w.mac()
			body := append([]byte{byte(133 + kind), 0, 0, 0, 0, 0, 0, 0}, more...)
			w.frame(t, ipv6(m, linkLocal(m), allRouters, 58, 255, body, 2))
			w.frame(t, ipv6(m, linkLocal(m), allRouters, 58, 255, body[:4], 2))
		}
	}
	// DNS: a name that points to itself, counts without records, a name of all
	// that is allowed and more; TFTP: words without end, acknowledgements of
	// nothing.
	question := []byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, b := range [][]byte{
		append(bytes.Clone(question), 0xc0, 12, 0, 1, 0, 1), append(bytes.Clone(question), bytes.Repeat([]byte{63}, 2_000)...),
		bytes.Repeat([]byte{0xff}, 12), question, make([]byte, 60_000), question[:5],
	} {
		w.to6(t, n.gate6.String(), 53, b)
		w.to4(t, n.gate4.String(), 53, b)
	}
	for _, b := range [][]byte{{0, 1}, append([]byte{0, 1}, bytes.Repeat([]byte{'a'}, 60_000)...), {0, 4, 0, 1}, {0, 9}, bytes.Repeat([]byte{0, 1, 0}, 10_000)} {
		w.to6(t, n.gate6.String(), 69, b)
		w.to4(t, n.gate4.String(), 69, b)
	}

	if a4, a6 := known.fresh4(""), known.fresh6("-D LL", ""); a4 != known.fix4 || a6 != known.fix6 {
		t.Errorf("a guest gets %v and %v, its port has %v and %v", a4, a6, known.fix4, known.fix6)
	}
	known.sh(fmt.Sprintf("ip -6 addr add %v/64 dev eth0 nodad", known.fix6))
	contains(t, known.Node, "rdisc6 -1 -r 3 -w 3000 eth0", n.prefix6.String())
	contains(t, known.Node, "dig +time=3 +short @"+n.gate6.String()+" known."+n.name+".internal AAAA", known.fix6.String())
	if now := n.agent(t); now != pid {
		t.Errorf("the agent was process %d and is %d", pid, now)
	}
	out, err := os.ReadFile(n.host.Dir() + "/sextant.log")
	if err != nil || bytes.Contains(out, []byte("panic")) {
		t.Errorf("the daemon says (%v)\n%s", err, section(string(out), "panic", "\n\n\n"))
	}
}

// Of a flood.
const (
	floodMessages = 100_000
	// floodMemory is what the agent may take more than before, while it is one
	// process that collects its garbage now and then.
	floodMemory = 96 << 20
)

// flood sends solicits of clients that nobody saw before, each of which wants an
// address at once, and among them a fifth as many DISCOVERs, router
// solicitations and first uses of an address (DAD), as fast as the card sends.
// They come from a few hundred link-local addresses, since all machines of the
// lab share one kernel's table of neighbours, whose size is not the lab's to
// change.
func (w *wire) flood(t *testing.T, n *network) {
	for i := range floodMessages {
		m := w.mac()
		duid := binary.BigEndian.AppendUint64([]byte{0, 4}, w.rand.Uint64())
		duid = binary.BigEndian.AppendUint64(duid, w.rand.Uint64())
		from := linkLocal([6]byte{2, 0xf1, 0, 0, 0, byte(i)})
		w.frame(t, solicitFrame(m, from, solicit(w.rand.Uint32(), duid, w.rand.Uint32(), option6(14)...)))
		if i%5 != 0 {
			continue
		}
		w.frame(t, discoverFrame(m, discover(w.rand.Uint32(), m, option4(80)...)))
		w.frame(t, ipv6(m, from, allRouters, 58, 255, []byte{133, 0, 0, 0, 0, 0, 0, 0}, 2))
		a := n.prefix6.Addr().As16()
		binary.BigEndian.PutUint64(a[8:], w.rand.Uint64())
		group := [16]byte{0xff, 2, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]}
		w.frame(t, ipv6(m, anyAddress, group, 58, 255, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, a[:]...), 2))
	}
}

// TestFlood: a hundred thousand solicits from random DUIDs and MACs, and what
// else costs a server memory: the agent keeps its size, one card does not get
// more than its limit, and a guest that is known gets its addresses meanwhile.
func TestFlood(t *testing.T) {
	netnstest.NeedCommands(t, "dhclient")
	n := newNetwork(t, "")
	pid := n.agent(t)
	bad, known := n.port("bad", ""), n.port("known", "")
	bad.up()
	known.up()
	w := bad.wire()
	before := anonymous(t, pid)
	begun := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); w.flood(t, n) }()
	during := 0
	for flooded := false; !flooded; {
		if a := known.fresh6("-D LL", ""); a != known.fix6 {
			t.Errorf("a guest gets %v, its port has %v", a, known.fix6)
		}
		if a := known.fresh4(""); a != known.fix4 {
			t.Errorf("a guest gets %v, its port has %v", a, known.fix4)
		}
		select {
		case <-done:
			flooded = true
		default:
			during++
		}
	}
	after := anonymous(t, pid)
	t.Logf("%d solicits and more in %v, beside which a guest was wholly served %d times; the agent had %d MB and has %d MB",
		floodMessages, time.Since(begun).Round(time.Millisecond), during, before>>20, after>>20)
	if after > before+floodMemory {
		t.Errorf("the agent has %d MB after the flood, had %d MB", after>>20, before>>20)
	}
	if now := n.agent(t); now != pid {
		t.Errorf("the agent was process %d and is %d", pid, now)
	}
	n.limited(bad, known, defaultLimit)
}

// limited checks how many addresses the port was given beside its own.
func (n *network) limited(bad, but *guest, limit int) {
	n.t.Helper()
	count := map[string]int{}
	for _, l := range n.leases() {
		if !strings.EqualFold(l.MAC, but.mac) && l.Address != bad.fix4 && l.Address != bad.fix6 && (l.How == "dhcpv4" || l.How == "dhcpv6") {
			count[l.How]++
		}
	}
	for _, how := range []string{"dhcpv4", "dhcpv6"} {
		if c := count[how]; c > limit {
			n.t.Errorf("one port has %d addresses by %s, the limit is %d", c, how, limit)
		}
	}
}

// defaultLimit is that of dhcp.limit.
const defaultLimit = 16

// TestLimit: one port that plays many clients gets as many addresses as the
// limit says (a stranger's device may be a bridge with guests of its own: there
// each MAC has the limit), in both families, and leaves the rest of the pool to others.
func TestLimit(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient")
	n := newNetwork(t, "dhcp.limit=5 dhcp.probe=no")
	bad, good := n.port("bad", ""), n.stranger("good")
	bad.up()
	bad.fresh4("")
	w := bad.wire()
	for round := range 3 {
		for i := range 300 {
			m := [6]byte{2, 0xee, 0, 0, byte(i >> 8), byte(i)}
			if round == 0 { // its own MAC, and other names
				copy(m[:], mustMAC(t, bad.mac))
			}
			id := option4(61, 0, byte(i>>8), byte(i), 1)
			duid := []byte{0, 4, byte(i >> 8), byte(i), 15: 7}
			w.frame(t, discoverFrame(m, discover(uint32(i), m, append(id, option4(80)...)...)))
			from := linkLocal([6]byte{2, 0xf1, 0, 0, 0, byte(i)})
			w.frame(t, solicitFrame(m, from, solicit(uint32(i), duid, uint32(i), option6(14)...)))
		}
		contains(t, n.host.Node, "sextant lease list network="+n.name, "dhcpv4")
	}
	good.up()
	a4, a6 := good.fresh4(""), good.fresh6("-D LL", "")
	if !n.prefix4.Contains(a4) || !n.prefix6.Contains(a6) {
		t.Errorf("another guest got %v and %v", a4, a6)
	}
	n.limited(bad, good, 5)
}

func mustMAC(t *testing.T, s string) []byte {
	t.Helper()
	var m [6]byte
	if _, err := fmt.Sscanf(s, "%02x:%02x:%02x:%02x:%02x:%02x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]); err != nil {
		t.Fatal(err)
	}
	return m[:]
}
