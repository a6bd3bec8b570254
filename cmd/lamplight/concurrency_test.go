package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var lockRow = regexp.MustCompile("(?m)^\\| `([\\w.]+)` \\(`\\w+`\\) \\|")

// docs/concurrency.md, "Locks" has a row for every mutex of the product, and for no others.
func TestEveryLockIsDescribed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/concurrency.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, m := range lockRow.FindAllStringSubmatch(string(text), -1) {
		described[m[1]] = true
	}
	there := map[string]bool{}
	for _, dir := range []string{"actors", "cluster", "transport", "cmd"} {
		err := filepath.WalkDir("../../"+dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && strings.HasSuffix(path, "test") { // a kit for tests
				return filepath.SkipDir
			}
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, name := range mutexes(f) {
				there[name] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(there) < 10 {
		t.Errorf("only %d mutexes were found: %v", len(there), there)
	}
	for lock := range there {
		if !described[lock] {
			t.Errorf("docs/concurrency.md, \"Locks\" has no row for the mutex %s", lock)
		}
	}
	for lock := range described {
		if !there[lock] {
			t.Errorf("docs/concurrency.md, \"Locks\" describes the mutex %s, which is not there", lock)
		}
	}
}

// mutexes returns the names of the mutexes that a file declares, as Type.field, Function.variable or Type.Method.variable.
func mutexes(f *ast.File) (names []string) {
	of := func(prefix string, idents []*ast.Ident, kind ast.Expr) {
		s, ok := kind.(*ast.SelectorExpr)
		if !ok || s.Sel.Name != "Mutex" && s.Sel.Name != "RWMutex" {
			return
		}
		if len(idents) == 0 { // embedded
			names = append(names, prefix+s.Sel.Name)
		}
		for _, i := range idents {
			names = append(names, prefix+i.Name)
		}
	}
	for _, d := range f.Decls {
		prefix := ""
		if fn, ok := d.(*ast.FuncDecl); ok {
			if fn.Recv != nil {
				kind := fn.Recv.List[0].Type
				if star, ok := kind.(*ast.StarExpr); ok {
					kind = star.X
				}
				if name, ok := kind.(*ast.Ident); ok {
					prefix = name.Name + "."
				}
			}
			prefix += fn.Name.Name + "."
		}
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					for _, field := range s.Fields.List {
						of(n.Name.Name+".", field.Names, field.Type)
					}
					return false
				}
			case *ast.ValueSpec:
				of(prefix, n.Names, n.Type)
			}
			return true
		})
	}
	return names
}
