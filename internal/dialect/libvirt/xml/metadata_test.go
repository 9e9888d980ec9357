package xml

import (
	"errors"
	"strings"
	"testing"
)

// TestMetadata sets and gets metadata as virsh net-desc and net-metadata do.
// Texts and numbers are those of libvirt 11 (virnetworkobj.c).
func TestMetadata(t *testing.T) {
	n, err := define("<network><name>e</name></network>")
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.GetMetadata(KindTitle, "")
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeNoMetadata || e.Text != "metadata not found: Requested metadata element is not present" {
		t.Errorf("of none: %v", err)
	}
	set := func(k Kind, text, key, uri string) {
		t.Helper()
		c, err := n.SetMetadata(k, &text, key, uri)
		if err != nil {
			t.Fatal(err)
		}
		if c == n {
			t.Fatal("it was changed itself")
		}
		n = c
		stable(t, n)
	}
	set(KindTitle, "title", "", "")
	set(KindDescription, "more\nlines", "", "")
	set(KindElement, "<a b='c'><d/></a>", "x", "urn:x")
	set(KindElement, "<other/>", "y", "urn:y")
	set(KindElement, "<a><d/></a>", "z", "urn:x")
	for _, tc := range []struct {
		k         Kind
		uri, want string
	}{{KindTitle, "", "title"}, {KindDescription, "", "more\nlines"}, {KindElement, "urn:x", "<a>\n  <d/>\n</a>"}, {KindElement, "urn:y", "<other/>"}} {
		if got, err := n.GetMetadata(tc.k, tc.uri); err != nil || got != tc.want {
			t.Errorf("%v %s: %q %v, want %q", tc.k, tc.uri, got, err, tc.want)
		}
	}
	want := "  <metadata>\n    <y:other xmlns:y=\"urn:y\"/>\n    <z:a xmlns:z=\"urn:x\">\n      <z:d/>\n    </z:a>\n  </metadata>\n"
	if text := n.Print(true); !strings.Contains(text, want) {
		t.Errorf("%s\nhas not\n%s", text, want)
	}
	for _, uri := range []string{"urn:x", "urn:y"} {
		if n, err = n.SetMetadata(KindElement, nil, "", uri); err != nil {
			t.Fatal(err)
		}
	}
	if text := n.Print(true); strings.Contains(text, "metadata") {
		t.Errorf("it is still there:\n%s", text)
	}
	for _, tc := range []struct {
		k         Kind
		text, key string
		code      Code
	}{{9, "x", "x", CodeInvalidArg}, {KindElement, "<a", "x", CodeXMLDetail}, {KindElement, "<a/>", "1 x", CodeInternal},
		{KindElement, "<a xmlns:x='urn:q'/>", "x", CodeInternal}, {KindTitle, "a\nb", "", CodeXML}} {
		if _, err := n.SetMetadata(tc.k, &tc.text, tc.key, "urn:x"); !errors.As(err, &e) || e.Code != tc.code {
			t.Errorf("%q: %v, want number %d", tc.text, err, tc.code)
		}
	}
}

// TestWishBySetting says modes as virsh net-metadata would.
func TestWishBySetting(t *testing.T) {
	n, err := define("<network><name>e</name></network>")
	if err != nil {
		t.Fatal(err)
	}
	text := "<network><ipv4 mode='nat'/><ipv6 mode='isolated' guests='slaac'/></network>"
	if n, err = n.SetMetadata(KindElement, &text, "sextant", Space); err != nil {
		t.Fatal(err)
	}
	if w, err := n.Wish(); err != nil || w != (Wish{IPv4: "nat", IPv6: "isolated", Guests: "slaac"}) {
		t.Errorf("%+v %v", w, err)
	}
}
