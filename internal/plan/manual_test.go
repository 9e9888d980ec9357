package plan

import (
	"os"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

// manualRow is a row of the manual's egress table.
type manualRow struct{ families, out, in, host string }

// manualRows reads the egress table of the manual.
func manualRows(t *testing.T) map[vnet.Egress]manualRow {
	t.Helper()
	text, err := os.ReadFile("../../docs/man/sextant-network.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Egress\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := map[vnet.Egress]manualRow{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 || !strings.Contains(cells[0], "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		for _, mode := range strings.Split(cells[0], ", ") {
			mode := vnet.Egress(strings.Trim(mode, "`"))
			if r, twice := rows[mode]; twice {
				cells[1] = r.families + " " + cells[1]
			}
			rows[mode] = manualRow{cells[1], cells[2], cells[3], cells[4]}
		}
	}
	return rows
}

// TestManualEgress: the table that operators read is the one by which rules
// are made: every mode of each family has a row, and its words are the
// verdicts.
func TestManualEgress(t *testing.T) {
	rows := manualRows(t)
	known := map[vnet.Egress]bool{}
	for _, f := range vnet.Families {
		for _, mode := range vnet.Modes(f) {
			known[mode] = true
			r, ok := rows[mode]
			if want := map[vnet.Family]string{vnet.IPv4: "IPv4", vnet.IPv6: "IPv6"}[f]; !ok || !strings.Contains(r.families, want) && r.families != "both" {
				t.Errorf("the manual lacks %s for %s: %+v", mode, want, r)
				continue
			}
			if mode == vnet.EgressAuto {
				continue
			}
			v := verdictsOf(f, mode, "", "PROJECT")
			if want := outOf(r.out); v.out != want {
				t.Errorf("%s: guest to outside: %q is %q, the manual says %q", mode, v.out, want, r.out)
			}
			if closed := v.in != verdictYes && v.in != ""; closed != (r.in != "no rules of ours" && r.in != "as the outside has it") {
				t.Errorf("%s: outside to guest: %q, the manual says %q", mode, v.in, r.in)
			}
			if served := v.host == hostServe; served != strings.Contains(r.host, "services") {
				t.Errorf("%s: guest to host: %q, the manual says %q", mode, v.host, r.host)
			}
			open := verdictsOf(f, mode, vnet.InboundOpen, "PROJECT").in == verdictYes
			if open != strings.Contains(r.in, "`inbound`") {
				t.Errorf("%s: inbound=open opens: %v, the manual says %q", mode, open, r.in)
			}
		}
	}
	for mode := range rows {
		if !known[mode] {
			t.Errorf("the manual has %s, which is no mode", mode)
		}
	}
}

// outOf is the verdict that the words for "guest to outside" mean.
func outOf(words string) string {
	switch {
	case strings.HasPrefix(words, "nothing outside"):
		return outLocal
	case strings.HasPrefix(words, "nothing"), strings.HasPrefix(words, "link-local only"), strings.HasPrefix(words, "no address"):
		return verdictNo
	case strings.HasPrefix(words, "no rules"), strings.HasPrefix(words, "on a physical link"):
		return ""
	}
	return outAny
}
