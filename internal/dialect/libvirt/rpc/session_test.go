package rpc

import (
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// TestUnsupported reads every line of the table of what is not supported.
func TestUnsupported(t *testing.T) {
	lines := 0
	for line := range strings.Lines(unsupportedText) {
		if !strings.HasPrefix(line, "#") {
			lines++
		}
	}
	if got := len(unsupported()); got != lines || lines < 300 {
		t.Errorf("%d procedures from %d lines", got, lines)
	}
	for n, p := range unsupported() {
		if _, ours := procedures[n]; ours || !strings.HasPrefix(p.api, "vir") || p.domain == 0 || p.invoke.run != nil {
			t.Errorf("%d: %+v", n, p)
		}
	}
}

// TestForwarded has daemons that say for whom they call: root is believed.
func TestForwarded(t *testing.T) {
	for _, tc := range []struct {
		uid  uint32
		want bool
	}{{0, true}, {1000, false}} {
		s, m := newPipeServer(t, Options{Log: quiet}, tc.uid)
		c := pipe(t, s, false).open()
		c.must(419, &identityArgs{params: []xdr.Param{
			{Field: "user-name", Value: "joe"}, {Field: "unix-user-id", Value: uint64(7)}, {Field: "process-id", Value: int64(8)},
		}}, &void{})
		c.call(46, &textValue{"x"}, &Network{})
		who := m.callers[len(m.callers)-1]
		if (who.Forwarded != nil) != tc.want || who.UID != tc.uid {
			t.Errorf("uid %d: %+v", tc.uid, who)
		}
		if f := who.Forwarded; f != nil && (*f.UserName != "joe" || *f.UID != 7 || *f.ProcessID != 8 || f.GID != nil) {
			t.Errorf("%+v", f)
		}
	}
}

// TestDifferences has what differs from libvirtd 9.0: descriptors are
// not taken, and changed metadata is an event, as of 9.8.
func TestDifferences(t *testing.T) {
	s, _ := newPipeServer(t, Options{Log: quiet}, 0)
	c := pipe(t, s, false).open()
	var n intValue
	if c.must(60, &intValue{8}, &n); n.n != 0 {
		t.Error("descriptors are said to be taken")
	}
	var web Network
	c.must(432, &xmlArgs{xml: "<name>web</name>"}, &web)
	c.must(313, &registerArgs{event: eventMetadata, net: &Network{Name: "web", UUID: uuidOf("another")}}, &intValue{})
	c.must(313, &registerArgs{event: eventLifecycle, net: &web}, &intValue{})
	c.must(313, &registerArgs{event: eventMetadata, net: &web}, &n)
	title, uri := "a title", "urn:x"
	c.send(444, &Metadata{Network: web, Type: 2, Metadata: &title, URI: &uri})
	h, body, err := c.receive()
	var got metadataMessage
	if err != nil || h.proc != procEventMetadata || h.kind != kindMessage || xdr.Decode(body, &got) != nil ||
		got.callback != n.n || got.net != web || got.of != 2 || *got.uri != uri {
		t.Errorf("%+v %q %v", h, body, err)
	}
	if h, _, err = c.receive(); err != nil || h.proc != 444 || h.status != statusOK {
		t.Errorf("%+v %v", h, err)
	}
	var text textValue
	if c.must(445, &getMetadataArgs{Metadata{Network: web, Type: 1}}, &text); text.text != title {
		t.Error(text)
	}
	// No URI is none of ours, and neither is that of another driver.
	for _, uri := range []*string{nil, new(string)} {
		if e := pipe(t, s, false).call(1, &openArgs{uri: uri}, &void{}); e == nil || *e.message != "no connection driver available for <null>" {
			t.Errorf("%+v", e)
		}
	}
	// A connection that somebody failed to open twice goes on.
	open := URI
	if e := c.call(1, &openArgs{uri: &open}, &void{}); e == nil || *e.message != "internal error: connection already open" {
		t.Errorf("%+v", e)
	}
	c.must(110, &void{}, &text)
}

// TestPorts calls what virsh has no command for.
func TestPorts(t *testing.T) {
	s, _ := newPipeServer(t, Options{Log: quiet}, 0)
	c := pipe(t, s, false).open()
	var web Network
	c.must(41, &textValue{"<name>web</name>"}, &web)
	var p Port
	c.must(406, &portXMLArgs{net: web, xml: "<networkport/>", flags: 1}, &p)
	var found Port
	if c.must(405, &Port{web, p.UUID}, &found); found != p {
		t.Errorf("%+v, want %+v", found, p)
	}
	var params getParamsRet
	if c.must(407, &getParamsArgs{port: p}, &params); params.n != 1 || len(params.params) != 0 {
		t.Errorf("%+v", params)
	}
	if c.must(407, &getParamsArgs{port: p, n: 16}, &params); params.n != 1 || params.params[0].Value != uint32(1000) {
		t.Errorf("%+v", params)
	}
	if e := c.call(407, &getParamsArgs{port: p, n: 17}, &params); e == nil {
		t.Error("17 parameters were asked for")
	}
	c.must(408, &portParamsArgs{port: p, params: []xdr.Param{{Field: "a", Value: uint32(7)}}}, &void{})
	c.must(410, &portFlags{port: p}, &void{})
	if e := c.call(405, &Port{web, p.UUID}, &found); e == nil || e.code != int32(CodeNoNetworkPort) || e.domain != int32(DomainNetwork) {
		t.Errorf("%+v", e)
	}
	var names namesRet
	if c.must(36, &intValue{10}, &names); len(names.names) != 1 || names.names[0] != "web" {
		t.Errorf("%+v", names)
	}
}
