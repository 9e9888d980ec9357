package archtest

import (
	"fmt"
	"go/ast"
	"path"
)

// clocks are the functions of package time that look at a clock or wait.
var clocks = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
	"Tick": true, "NewTimer": true, "NewTicker": true,
}

// judgeEngine returns what is wrong with a protocol server's engine.go: it is a
// function of state, message and time, so it has no sockets and no clock.
func judgeEngine(f *file) []error {
	if path.Base(f.path) != "engine.go" || !matches("internal/server/*", f.dir) {
		return nil
	}
	var errs []error
	for p, pos := range f.imports() {
		if matchesAny(worldly, p) && !matchesAny(innocent, p) || matches("golang.org/x/sys/...", p) || matches("golang.org/x/net/...", p) {
			errs = append(errs, fmt.Errorf("%s: an engine must not import %s", f.at(pos), p))
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && clocks[sel.Sel.Name] {
			errs = append(errs, fmt.Errorf("%s: an engine is told the time, it does not ask time.%s", f.at(sel.Pos()), sel.Sel.Name))
		}
		return true
	})
	return errs
}
