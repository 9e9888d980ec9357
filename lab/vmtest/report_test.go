package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a/x_test.go", "package a\nfunc TestOne(t *testing.T) { netnstest.NeedVM(t) }\nfunc TestTwo(t *testing.T) {}\n")
	write("b/y_test.go", "package b\nfunc TestThree(t *testing.T) { t.Run(\"x\", func(t *testing.T) { netnstest.AlsoVM(t) }) }\n")
	write("b/testdata/z_test.go", "package z\nfunc TestFour(t *testing.T) { netnstest.NeedVM(t) }\n")
	write("b/y.go", "package b\nfunc TestFive() { netnstest.NeedVM(nil) }\n")
	suites, err := find(dir, regexp.MustCompile(""))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range suites {
		got = append(got, filepath.Base(s.dir)+" "+strings.Join(s.tests, "|"))
	}
	if text := strings.Join(got, ", "); text != "a TestOne, b TestThree" {
		t.Errorf("found %s", text)
	}
}

func TestVerdict(t *testing.T) {
	suites := []*suite{{dir: "a", tests: []string{"TestA", "TestB"}}, {dir: "b", tests: []string{"TestA"}}}
	for _, tc := range []struct{ output, want string }{
		{"@@suite a\r\n--- PASS: TestA (0.1s)\r\n--- PASS: TestB (0s)\n@@suite b\n--- PASS: TestA (0s)\n", ""},
		{"@@suite a\n--- PASS: TestA (0.1s)\n--- FAIL: TestB (0s)\n@@suite b\n--- SKIP: TestA (0s)\n", "TestB did not pass, TestA did not pass"},
		{"@@suite a\n--- PASS: TestA (0.1s)\n--- PASS: TestB (0s)\n@@suite b\nKernel panic\n", "TestA did not end"},
		{"", "TestA did not end, TestB did not end, TestA did not end"},
	} {
		var out bytes.Buffer
		r := &report{suites: suites, out: &out}
		for i := range tc.output { // in pieces, as a console writes
			if _, err := r.Write([]byte(tc.output[i : i+1])); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		if err := r.verdict(time.Second); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%q: %q, want %q", tc.output, got, tc.want)
		}
	}
}
