package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strings"
)

// maxLines is how long a file may get before it must be split by noun.
const maxLines = 450

// longFiles are allowed to be longer, each with the reason.
var longFiles = map[string]string{}

// vague are names that say nothing about what a file or package holds.
var vague = regexp.MustCompile(`^(util|utils|common|helper|helpers|types|manager|misc|base|shared)(_test)?$`)

// judgeName returns what is wrong with the name of a file or its package.
func judgeName(f *file) error {
	if vague.MatchString(strings.TrimSuffix(path.Base(f.path), ".go")) || vague.MatchString(f.ast.Name.Name) {
		return fmt.Errorf("%s: name it for the noun it holds", f.path)
	}
	return nil
}

// judgeLength returns what is wrong with a file's length.
func judgeLength(f *file) error {
	_, allowed := longFiles[f.path]
	switch {
	case f.generated() || f.lines <= maxLines && !allowed:
		return nil
	case f.lines <= maxLines:
		return fmt.Errorf("%s is short again: take it off the list of long files", f.path)
	case allowed:
		return nil
	}
	return fmt.Errorf("%s has %d lines, more than %d: split it by noun, or add it to the list with the reason",
		f.path, f.lines, maxLines)
}

// universal are methods whose meaning every Go reader knows.
var universal = []string{
	"String", "Error", "Unwrap", "Is", "Close", "Read", "Write", "Len", "Less", "Swap",
	"MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON", "ServeHTTP",
}

// promised collects the methods that some interface declares, and so explains.
func promised(files []*file) map[string]bool {
	m := make(map[string]bool)
	for _, name := range universal {
		m[name] = true
	}
	for _, f := range files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok {
				for _, method := range i.Methods.List {
					for _, name := range method.Names {
						m[name.Name] = true
					}
				}
			}
			return true
		})
	}
	return m
}

// judgeDocs returns the exported names of a file that have no comment. Methods
// count only on exported types and when no interface promised them; a comment
// on a group is enough.
func judgeDocs(f *file, promised map[string]bool) []error {
	var errs []error
	missing := func(n *ast.Ident) {
		if n.IsExported() {
			errs = append(errs, fmt.Errorf("%s: exported %s has no comment", f.at(n.Pos()), n.Name))
		}
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && exportedReceiver(d) && (d.Recv == nil || !promised[d.Name.Name]) {
				missing(d.Name)
			}
		case *ast.GenDecl:
			if d.Doc != nil || d.Tok == token.IMPORT {
				continue
			}
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Doc == nil && s.Comment == nil {
						missing(s.Name)
					}
				case *ast.ValueSpec:
					if s.Doc == nil && s.Comment == nil {
						for _, n := range s.Names {
							missing(n)
						}
					}
				}
			}
		}
	}
	return errs
}

// exportedReceiver reports whether d is a function or a method of an exported
// type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.IsExported()
		default:
			return false
		}
	}
}

// judgeCalls returns the forbidden calls and declarations of a file: init
// functions, ends of the process outside package main, and running nft outside
// its package.
func judgeCalls(f *file) []error {
	var errs []error
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				errs = append(errs, fmt.Errorf("%s: no init functions: build the parts in main", f.at(n.Pos())))
			}
		case *ast.CallExpr:
			if err := judgeCall(f, n); err != nil {
				errs = append(errs, err)
			}
		}
		return true
	})
	return errs
}

func judgeCall(f *file, call *ast.CallExpr) error {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	pkg, ok := sel.X.(*ast.Ident)
	if !ok {
		return nil
	}
	switch name := pkg.Name + "." + sel.Sel.Name; name {
	case "os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln":
		if f.ast.Name.Name != "main" {
			return fmt.Errorf("%s: %s outside main: return an error", f.at(call.Pos()), name)
		}
	case "exec.Command", "exec.CommandContext", "exec.LookPath":
		for _, arg := range call.Args {
			lit, ok := arg.(*ast.BasicLit)
			if ok && lit.Value == `"nft"` && !matchesAny(nftUsers, f.dir) {
				return fmt.Errorf("%s: only internal/kernel/nft runs nft", f.at(call.Pos()))
			}
		}
	}
	return nil
}
