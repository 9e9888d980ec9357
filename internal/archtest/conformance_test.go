package archtest

import (
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestConformance: every row of docs/conformance says what is done and names a
// test that is there; every section of the RFCs that binds a server, and every
// option of radvd, has a row.
func TestConformance(t *testing.T) {
	root, files := load(t)
	tests := testFunctions(files)
	read := func(t *testing.T, name string) string {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	readme := read(t, filepath.Join(root, conformanceDir, "README.md"))
	for page, rfcs := range conformancePages {
		t.Run(page, func(t *testing.T) {
			if !strings.Contains(readme, "("+page+")") {
				t.Errorf("%s/README.md does not name it", conformanceDir)
			}
			rows, errs := conformanceRows(read(t, filepath.Join(root, conformanceDir, page)))
			if len(rows) == 0 {
				t.Error("there is no row")
			}
			whole := rows[:0:0]
			for _, r := range rows {
				errs = append(errs, judgeRow(r, tests)...)
				if len(r.cells) == 3 {
					whole = append(whole, r)
				}
			}
			for _, err := range errs {
				t.Error(err)
			}
			for _, rfc := range rfcs {
				for _, fact := range facts(read(t, "testdata/rfc"+rfc+"-sections.txt")) {
					section, _, _ := strings.Cut(fact, " ")
					if !slices.ContainsFunc(whole, func(r conformanceRow) bool { return r.about(rfc, len(rfcs) == 1) && r.mentions(section) }) {
						t.Errorf("no row is about RFC %s section %s", rfc, fact)
					}
				}
			}
			if page == "ra.md" {
				judgeRadvd(t, whole, facts(read(t, "testdata/radvd-options.txt")))
			}
		})
	}
	pages, err := filepath.Glob(filepath.Join(root, conformanceDir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		name := filepath.Base(p)
		if _, known := conformancePages[name]; !known && name != "README.md" {
			t.Errorf("%s/%s is not read by this test", conformanceDir, name)
		}
	}
}

// judgeRadvd looks for a row of each option, and that the list is that of the
// installed manual, if there is one.
func judgeRadvd(t *testing.T, rows []conformanceRow, options []string) {
	for _, o := range options {
		word := regexp.MustCompile(`\b` + regexp.QuoteMeta(o) + `\b`)
		if !slices.ContainsFunc(rows, func(r conformanceRow) bool { return word.MatchString(r.cells[0]) }) {
			t.Errorf("no row is about radvd's option %s", o)
		}
	}
	for _, o := range manualOptions(t) {
		if !slices.Contains(options, o) {
			t.Errorf("radvd.conf(5) has %s, which testdata/radvd-options.txt has not", o)
		}
	}
}

// manualOptions reads the installed radvd.conf(5); nil if there is none.
func manualOptions(t *testing.T) []string {
	t.Helper()
	f, err := os.Open("/usr/share/man/man5/radvd.conf.5.gz")
	if errors.Is(err, fs.ErrNotExist) {
		t.Log("radvd.conf(5) is not installed: the list of its options is taken as it is")
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	out := radvdOptions(string(text))
	if len(out) < 40 {
		t.Fatalf("only %d options in radvd.conf(5): %q", len(out), out)
	}
	return out
}

func TestJudgeRow(t *testing.T) {
	tests := map[string]map[string]bool{
		"internal/server/radv": {"TestA": true}, "internal/ipam": {"FuzzB": true}, "lab/clients": {"TestC": true},
	}
	for _, tc := range []struct{ row, want string }{
		{"| RFC 4861 6.2.1 | `ra.interval` | `radv.TestA` |", ""},
		{"| a | b | radv.TestA, ipam.FuzzB; `lab/clients.TestC/sub` |", ""},
		{`| a \| b | b | radv.TestA |`, ""},
		{"| a | | radv.TestA |", "key or behaviour is empty"},
		{"| | b | radv.TestA |", "requirement is empty"},
		{"| a | b | |", "test is empty"},
		{"| a | n/a | radv.TestA |", "key or behaviour is empty"},
		{"| a | – | radv.TestA |", "key or behaviour is empty"},
		{"| a | b | TODO |", "test is empty"},
		{"| a | b | radv.TestA | d |", "4 cells"},
		{"| a | b |", "2 cells"},
		{"| a | b | by eye |", "names no test"},
		{"| a | b | radv.TestB |", "no test radv.TestB"},
		{"| a | b | dhcp6.TestA |", "no test dhcp6.TestA"},
		{"| a | b | radv.TestA, TestC |", "without its package"},
	} {
		var got []string
		for _, err := range judgeRow(conformanceRow{1, "", cellsOf(tc.row)}, tests) {
			got = append(got, err.Error())
		}
		if s := strings.Join(got, "; "); !strings.Contains(s, tc.want) || tc.want == "" && s != "" {
			t.Errorf("%s: %q, want %q", tc.row, s, tc.want)
		}
	}
}

func TestConformanceRows(t *testing.T) {
	rows, errs := conformanceRows("# A\n\n| r | k | t |\n|---|:--|---|\n| 1 | 2 | 3 |\n## RFC 4191\n\n| r | k | t |\n|---|---|---|\n| 4 | 5 | 6 |\n| 7 | 8 | 9 |")
	if len(errs) > 0 || len(rows) != 3 || rows[0].heading != "A" || rows[2].heading != "RFC 4191" || rows[2].cells[1] != "8" || rows[2].line != 11 {
		t.Errorf("%+v, %v", rows, errs)
	}
	if _, errs = conformanceRows("| r | k | t |\n| 1 | 2 | 3 |\n"); len(errs) != 1 {
		t.Errorf("a table without a head: %v", errs)
	}
	for _, tc := range []struct {
		heading, cell, rfc, section string
		only, want                  bool
	}{
		{"RFC 4861", "6.2.1 variables", "4861", "6.2.1", false, true},
		{"RFC 4861", "6.2.1 variables", "4191", "6.2.1", false, false},
		{"RFC 4861", "RFC 4191 section 2.3", "4191", "2.3", false, true},
		{"RFC 4861", "RFC 4191 section 2.3", "4861", "2.3", false, false},
		{"", "sections 18.3.1, 18.3.2", "9915", "18.3.2", true, true},
		{"", "section 18.3.10", "9915", "18.3.1", true, false},
		{"", "section 18.3.10", "9915", "18.3", true, true},
		{"", "section 18.3", "9915", "18.3.1", true, false},
		{"", "118.3", "9915", "18.3", true, false},
		{"", "18.3", "9915", "18.3", false, false},
	} {
		r := conformanceRow{1, tc.heading, []string{tc.cell, "", ""}}
		if got := r.about(tc.rfc, tc.only) && r.mentions(tc.section); got != tc.want {
			t.Errorf("%q below %q: about RFC %s section %s: %v", tc.cell, tc.heading, tc.rfc, tc.section, got)
		}
	}
}

func TestRadvdOptions(t *testing.T) {
	got := radvdOptions(".BR \"route \" prefix / \"length \" {\n.TP\n.BR AdvA \" \" on | off\n\n.BR see (8)\n.TP\n.BR \"AdvB, AdvC \" integer\n.SH EXAMPLES\n.TP\n.BR AdvD \" \"\n")
	if want := []string{"route", "AdvA", "AdvB", "AdvC"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
