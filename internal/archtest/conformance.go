package archtest

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// conformanceDir holds the tables of what the address servers do.
const conformanceDir = "docs/conformance"

// conformancePages are the pages that there must be, and the RFCs whose
// sections, listed in testdata/rfcN-sections.txt, must each have a row there.
var conformancePages = map[string][]string{
	"ra.md":     {"4861", "4191", "8106"},
	"dhcpv6.md": {"9915"},
	"dhcpv4.md": {"2131"},
	"dns.md":    nil,
	"tftp.md":   nil,
}

// conformanceRow is a row of a table.
type conformanceRow struct {
	line    int
	heading string // the nearest above
	cells   []string
}

// nothingSaid are cells that look filled and are not.
var nothingSaid = regexp.MustCompile(`(?i)^[\s*_` + "`" + `]*(-+|–|—|\?+|\.+|…|x|n/?a|none|todo|tbd|fixme|tba)?[\s*_` + "`" + `]*$`)

// conformanceRows reads the rows of a page's tables, without their heads. A
// table is lines that begin with "|"; "\|" is no border of a cell.
func conformanceRows(text string) (rows []conformanceRow, errs []error) {
	var heading string
	var table []conformanceRow
	flush := func() {
		if len(table) > 0 && (len(table) < 3 || !isRule(table[1].cells)) {
			errs = append(errs, fmt.Errorf("line %d: a table needs a head, a line of dashes and rows", table[0].line))
		} else if len(table) > 0 {
			rows = append(rows, table[2:]...)
		}
		table = nil
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			flush()
			if strings.HasPrefix(line, "#") {
				heading = strings.TrimLeft(line, "# ")
			}
			continue
		}
		table = append(table, conformanceRow{i + 1, heading, cellsOf(line)})
	}
	flush()
	return rows, errs
}

func isRule(cells []string) bool {
	return !slices.ContainsFunc(cells, func(c string) bool { return strings.Trim(c, ":-") != "" || c == "" })
}

// cellsOf splits a line of a table.
func cellsOf(line string) []string {
	const border = "\x00"
	line = strings.ReplaceAll(line, `\|`, border)
	var out []string
	for c := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|") {
		out = append(out, strings.TrimSpace(strings.ReplaceAll(c, border, "|")))
	}
	return out
}

// testName is how a row names a test: PACKAGE.TestName, perhaps with a
// subtest.
var testName = regexp.MustCompile(`([A-Za-z0-9_/]+)\.((?:Test|Fuzz)[A-Z0-9_][A-Za-z0-9_]*)`)

// judgeRow returns what is wrong with a row. tests has the test functions of
// every directory of the module.
func judgeRow(r conformanceRow, tests map[string]map[string]bool) []error {
	if len(r.cells) != 3 {
		return []error{fmt.Errorf("line %d: %d cells, not 3: requirement, key or behaviour, test", r.line, len(r.cells))}
	}
	var errs []error
	for i, what := range []string{"requirement", "key or behaviour", "test"} {
		if nothingSaid.MatchString(r.cells[i]) {
			errs = append(errs, fmt.Errorf("line %d: the %s is empty: %q", r.line, what, r.cells[i]))
		}
	}
	named := testName.FindAllStringSubmatch(r.cells[2], -1)
	if len(named) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("line %d: %q names no test as PACKAGE.TestName", r.line, r.cells[2]))
	}
	for _, m := range named {
		if !hasTest(m[1], m[2], tests) {
			errs = append(errs, fmt.Errorf("line %d: there is no test %s.%s", r.line, m[1], m[2]))
		}
	}
	// What is left without the names must not be the name of a test that was
	// forgotten to be qualified.
	if rest := testName.ReplaceAllString(r.cells[2], ""); regexp.MustCompile(`\b(Test|Fuzz)[A-Z]`).MatchString(rest) {
		errs = append(errs, fmt.Errorf("line %d: %q has a test without its package", r.line, r.cells[2]))
	}
	return errs
}

// hasTest reports whether a package has the test: PACKAGE is a directory below
// internal/server, internal, or the root.
func hasTest(pkg, name string, tests map[string]map[string]bool) bool {
	for _, below := range []string{"internal/server", "internal", ""} {
		if tests[path.Join(below, pkg)][name] {
			return true
		}
	}
	return false
}

// testFunctions lists the test functions of each directory.
func testFunctions(files []*file) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, f := range files {
		if !f.test {
			continue
		}
		for _, name := range f.functions() {
			if out[f.dir] == nil {
				out[f.dir] = map[string]bool{}
			}
			out[f.dir][name] = true
		}
	}
	return out
}

// rfcNumber finds the RFCs that a text speaks of.
var rfcNumber = regexp.MustCompile(`RFCs? ?([0-9]{3,5})`)

// sectionNumber finds the numbers of sections, and everything that looks like
// one.
var sectionNumber = regexp.MustCompile(`[0-9]+(?:\.[0-9]+)*`)

// about reports whether the row speaks of the RFC: it says so, or it names no
// RFC and its heading does, or neither does and it is the page's only one.
func (r conformanceRow) about(rfc string, only bool) bool {
	for _, text := range []string{r.cells[0], r.heading} {
		if found := rfcNumber.FindAllStringSubmatch(text, -1); len(found) > 0 {
			return slices.ContainsFunc(found, func(m []string) bool { return m[1] == rfc })
		}
	}
	return only
}

// mentions reports whether the row's requirement names the section, or one
// below it.
func (r conformanceRow) mentions(section string) bool {
	return slices.ContainsFunc(sectionNumber.FindAllString(r.cells[0], -1), func(n string) bool {
		return n == section || strings.HasPrefix(n, section+".")
	})
}

// facts reads a file of facts: a line each, "#" begins a comment.
func facts(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

// radvdOptions lists what a radvd.conf(5) in troff's source describes: the
// definitions that open a block, and the options behind each ".TP" up to the
// examples.
func radvdOptions(troff string) []string {
	var out []string
	before := ""
	for line := range strings.Lines(troff) {
		line = strings.TrimSpace(line)
		if line == ".SH EXAMPLES" {
			break
		}
		rest, isName := strings.CutPrefix(line, ".BR ")
		if isName && (before == ".TP" || strings.HasSuffix(line, "{")) {
			name := strings.TrimLeft(rest, `"`)
			if quoted := strings.HasPrefix(rest, `"`); quoted {
				name, _, _ = strings.Cut(name, `"`)
			} else {
				name, _, _ = strings.Cut(name, " ")
			}
			for n := range strings.SplitSeq(name, ",") {
				out = append(out, strings.TrimSpace(n))
			}
		}
		before = line
	}
	return out
}
