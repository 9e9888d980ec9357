package xml

import (
	"strings"
	"testing"
)

// TestUpdateRunning changes a network that has ports: their numbers stay, and a
// device that one of them has cannot go (network_conf.c).
func TestUpdateRunning(t *testing.T) {
	def, err := define("<network><name>e</name><forward mode='vepa'><interface dev='a'/><interface dev='b'/></forward></network>")
	if err != nil {
		t.Fatal(err)
	}
	n := def.Running()
	p, err := ParsePort(readFile(t, "testdata/port/plugless.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Allocate(p); err != nil {
		t.Fatal(err)
	}
	if text := def.Print(false); strings.Contains(text, "connections") {
		t.Errorf("the definition counts ports:\n%s", text)
	}
	c, err := n.Updated(Update{CommandAddLast, SectionForwardInterface, -1, "<interface dev='c'/>"}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<network connections='1'>", "<interface dev='a' connections='1'/>", "<interface dev='c'/>"} {
		if text := c.Print(false); !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
		if strings.Contains(c.Print(true), "connections") {
			t.Error("the inactive form counts ports")
		}
	}
	_, err = c.Updated(Update{CommandDelete, SectionForwardInterface, -1, "<interface dev='a'/>"}, false)
	const want = "Requested operation is not valid: unable to delete interface 'a' in network 'e'. It is currently being used  by 1 domains."
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := c.Updated(Update{CommandDelete, SectionForwardInterface, -1, "<interface dev='b'/>"}, false); err != nil {
		t.Error(err)
	}
}

// TestBridgeNames chooses names that nobody has, and gives up at some point.
func TestBridgeNames(t *testing.T) {
	h := takenBridges{"virbr0": true, "virbr1": true, "mine": true}
	for _, tc := range []struct{ bridge, want, err string }{
		{"", "virbr2", ""},
		{"<bridge name='lab%d'/>", "lab0", ""},
		{"<bridge name='free'/>", "free", ""},
		{"<bridge name='mine'/>", "", "internal error: bridge name 'mine' already in use."},
	} {
		n, err := Parse("<network><name>e</name>" + tc.bridge + "</network>")
		if err != nil {
			t.Fatal(err)
		}
		err = n.Validate(h)
		if err == nil && (n.Bridge.Name != tc.want || tc.err != "") || err != nil && err.Error() != tc.err {
			t.Errorf("%s: %s, %v, want %s %s", tc.bridge, n.Bridge.Name, err, tc.want, tc.err)
		}
	}
	n, err := Parse("<network><name>e</name></network>")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Validate(allTaken{}); err == nil || err.Error() != "internal error: Bridge generation exceeded max id 256" {
		t.Error(err)
	}
}

// takenBridges are those of other networks.
type takenBridges map[string]bool

func (h takenBridges) BridgeInUse(b, _ string) bool { return h[b] }
func (takenBridges) DeviceExists(string) bool       { return false }
func (takenBridges) VirtualFunction(string) bool    { return false }

// allTaken has a link of every name.
type allTaken struct{ takenBridges }

func (allTaken) DeviceExists(string) bool { return true }
