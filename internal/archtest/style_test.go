package archtest

import (
	"go/parser"
	"go/token"
	"testing"
)

func parse(t *testing.T, path, src string) *file {
	t.Helper()
	fset := token.NewFileSet()
	a, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return &file{path: path, dir: "internal/x", ast: a, fset: fset}
}

func TestJudgeStyle(t *testing.T) {
	for _, tc := range []struct {
		name, src string
		want      int
	}{
		{"init", "package x\nfunc init() {}", 1},
		{"method called init", "package x\ntype a int\nfunc (a) init() {}", 0},
		{"exit", "package x\nimport \"os\"\nfunc f() { os.Exit(1) }", 1},
		{"exit in main", "package main\nimport \"os\"\nfunc main() { os.Exit(1) }", 0},
		{"nft", "package x\nimport \"os/exec\"\nfunc f() { exec.Command(\"nft\", \"-f\", \"-\") }", 1},
		{"nft with context", "package x\nimport \"os/exec\"\nfunc f() { exec.CommandContext(nil, \"nft\") }", 1},
		{"ip", "package x\nimport \"os/exec\"\nfunc f() { exec.Command(\"ip\") }", 0},
	} {
		if got := judgeCalls(parse(t, "internal/x/a.go", tc.src)); len(got) != tc.want {
			t.Errorf("%s: %v, want %d", tc.name, got, tc.want)
		}
	}
	for _, tc := range []struct {
		name, src string
		want      int
	}{
		{"function", "package x\nfunc F() {}", 1},
		{"method of a hidden type", "package x\ntype a int\nfunc (a) F() {}", 0},
		{"method", "package x\n// A is.\ntype A int\nfunc (*A) F() {}", 1},
		{"method that everybody knows", "package x\n// A is.\ntype A int\nfunc (*A) Close() {}", 0},
		{"group", "package x\n// All.\nconst (\nA = 1\nB = 2\n)", 0},
		{"group without", "package x\nconst (\nA = 1\nB = 2 // b\n)", 1},
	} {
		if got := judgeDocs(parse(t, "internal/x/a.go", tc.src), promised(nil)); len(got) != tc.want {
			t.Errorf("%s: %v, want %d", tc.name, got, tc.want)
		}
	}
	for path, ok := range map[string]bool{"internal/x/utils.go": false, "internal/x/network.go": true, "internal/x/helpers_test.go": false} {
		if err := judgeName(parse(t, path, "package x")); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
}
