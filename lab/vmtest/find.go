package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// suite is a package with tests for the machine.
type suite struct {
	dir   string // below the module's root
	tests []string
}

// find parses the tests below root for those that call NeedVM or AlsoVM of
// netnstest.
func find(root string, want *regexp.Regexp) ([]*suite, error) {
	byDir := make(map[string]*suite)
	var suites []*suite
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		for _, name := range askers(file) {
			if !want.MatchString(name) {
				continue
			}
			if byDir[dir] == nil {
				byDir[dir] = &suite{dir: dir}
				suites = append(suites, byDir[dir])
			}
			byDir[dir].tests = append(byDir[dir].tests, name)
		}
		return nil
	})
	slices.SortFunc(suites, func(a, b *suite) int { return strings.Compare(a.dir, b.dir) })
	return suites, err
}

// askers lists the test functions of a file that ask for the machine.
func askers(file *ast.File) []string {
	var names []string
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || f.Body == nil {
			continue
		}
		asks := false
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "NeedVM" || s.Sel.Name == "AlsoVM") {
				x, ok := s.X.(*ast.Ident)
				asks = asks || ok && x.Name == "netnstest"
			}
			return !asks
		})
		if asks {
			names = append(names, f.Name.Name)
		}
	}
	return names
}
