package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// load parses the module once per test.
func load(t *testing.T) (string, []*file) {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root, err := moduleRoot(wd)
	if err != nil {
		t.Fatal(err)
	}
	files, err := sources(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d Go files below %s: the walk is broken", len(files), root)
	}
	return root, files
}

func TestImports(t *testing.T) {
	_, files := load(t)
	for _, f := range files {
		for path, pos := range f.imports() {
			if err := judgeImport(f.dir, path, f.test); err != nil {
				t.Errorf("%s: %v", f.at(pos), err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	_, files := load(t)
	for _, f := range files {
		if err := judgeName(f); err != nil {
			t.Error(err)
		}
	}
}

func TestLengths(t *testing.T) {
	_, files := load(t)
	seen := make(map[string]bool)
	for _, f := range files {
		seen[f.path] = true
		if err := judgeLength(f); err != nil {
			t.Error(err)
		}
	}
	for path := range longFiles {
		if !seen[path] {
			t.Errorf("%s is on the list of long files and is gone", path)
		}
	}
}

func TestCalls(t *testing.T) {
	_, files := load(t)
	for _, f := range files {
		if f.test {
			continue
		}
		for _, err := range judgeCalls(f) {
			t.Error(err)
		}
	}
}

func TestComments(t *testing.T) {
	_, files := load(t)
	packages := make(map[string]bool)
	known := promised(files)
	for _, f := range files {
		if f.test {
			continue
		}
		packages[f.dir] = packages[f.dir] || f.ast.Doc != nil
		if f.generated() {
			continue
		}
		for _, err := range judgeDocs(f, known) {
			t.Error(err)
		}
	}
	for dir, documented := range packages {
		if !documented {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// TestPaths keeps the project free of what exists on one machine only.
func TestPaths(t *testing.T) {
	root, _ := load(t)
	// Put together here, so that this file does not contain them.
	foreign := []string{"../" + "shared", "../" + ".library", "/" + "work/", "/" + "root/", "/" + "home/"}
	kinds := map[string]bool{
		".go": true, ".md": true, ".sh": true, ".toml": true, ".service": true, ".socket": true, ".conf": true,
		".yaml": true, ".yml": true, ".txt": true, ".txtar": true, ".golden": true, ".mk": true, "": true,
	}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != root && skipped(d.Name()) && d.Name() != "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !kinds[filepath.Ext(p)] || !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, bad := range foreign {
				if strings.Contains(line, bad) {
					t.Errorf("%s:%d refers to %s, which is outside the repository", p, i+1, bad)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
