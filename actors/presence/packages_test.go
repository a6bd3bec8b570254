package presence

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// All that the code knows of an event package stands in its row of the table. The test puts a row of another package in the place
// of the last one: the new package is then read, subscribed to, told and shown, and the replaced package is unknown.
func TestEventPackageIsItsRow(t *testing.T) {
	kept, names := packages[LastPackage], PackageNames()
	t.Cleanup(func() { packages[LastPackage] = kept })
	packages[LastPackage] = eventPackage{name: "urgency", contentType: "text/urgency",
		document: func(dst []byte, to Address, v *View, sequence uint32) []byte {
			return append(dst, to.User+" has "+strconv.Itoa(int(v.Messages.UrgentNew))+" in "+strconv.Itoa(int(sequence))...)
		},
		same: func(a, b *View) bool { return a.Messages.UrgentNew == b.Messages.UrgentNew }}

	p, ok := ParsePackage("urgency")
	if !ok || p.String() != "urgency" || p.ContentType() != "text/urgency" || PackageNames() != strings.ReplaceAll(names, kept.name, "urgency") {
		t.Fatalf("%v %q %q, of %s", ok, p, p.ContentType(), PackageNames())
	}
	if p, ok := ParsePackage(kept.name); ok {
		t.Errorf("%s is read as %d", kept.name, p)
	}
	s := newStage(t)
	s.do(watch(p, "u")).heard("urgency terminated u")
	s.do(MailboxEvent{New: 1}).heard()
	s.do(MailboxEvent{New: 1, UrgentNew: 2}).heard("urgency terminated u")
	if got := string(p.AppendDocument(nil, s.e.Address(), s.e.View(), 7)); got != "1001 has 2 in 7" {
		t.Errorf("the document is %q", got)
	}
	if s.reload(); len(s.e.Subscriptions()) != 1 || s.e.Subscriptions()[0].Package != p {
		t.Errorf("after a restart: %+v", s.e.Subscriptions())
	}
}

// While a node cannot read a package, nobody subscribes to it anew. Subscriptions that exist are refreshed, and end.
func TestPackageWaitsForAllNodes(t *testing.T) {
	kept := packages[LastPackage]
	t.Cleanup(func() { packages[LastPackage] = kept })
	packages[LastPackage].schema = Schema + 1
	s := newStage(t)
	common := Schema
	s.rules.Writes = func() int { return common }
	s.refused(watch(LastPackage, "w"), ErrTooNew)
	s.do(watch(Dialog, "d")).heard("dialog terminated d")
	common = Schema + 1
	told := kept.name + " terminated w"
	s.do(watch(LastPackage, "w")).heard(told)
	common = Schema // an older node has joined
	s.do(watch(LastPackage, "w")).heard(told)
	s.reload().do(watch(LastPackage, "w")).heard(told)
	s.refused(watch(LastPackage, "other"), ErrTooNew)
	last := watch(LastPackage, "w")
	last.Expires = 0
	s.do(last).heard(told + " timeout")
}

func TestNoSuchPackage(t *testing.T) {
	none := LastPackage + 1
	if none.String() != "" {
		t.Errorf("%d is %q", none, none)
	}
	for _, ev := range []Event{Subscribe{Package: none, CallID: "c", Expires: 60}, Notified{Package: none, HasPackage: true, CallID: "c"}} {
		if _, err := New("acme.test", "1001", &Rules{}).Apply(ev, begin); err == nil {
			t.Errorf("%+v was taken", ev)
		}
	}
}

// lastConstant returns the name of the constant of the last row.
func lastConstant(t *testing.T, table string) (name string) {
	f, err := parser.ParseFile(token.NewFileSet(), table, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Names[0].Name == "packages" {
			rows := v.Values[0].(*ast.CompositeLit).Elts
			name = rows[len(rows)-1].(*ast.KeyValueExpr).Key.(*ast.Ident).Name
		}
		return true
	})
	if name == "" {
		t.Fatalf("%s has no table of event packages", table)
	}
	return name
}

// The table is the only list of event packages in the product: nothing else writes the name of the last one or ends at it.
func TestOneTableOfEventPackages(t *testing.T) {
	const root, table = "../..", "../../actors/presence/packages.go"
	name, contentType, constant := packages[LastPackage].name, packages[LastPackage].contentType, lastConstant(t, table)
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || path == table {
			return err
		}
		files++
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if strings.Contains(strings.ReplaceAll(n.Value, contentType, ""), name) {
					t.Errorf("%s: %s; ask the table", set.Position(n.Pos()), n.Value)
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "presence" && n.Sel.Name == constant {
					t.Errorf("%s: presence.%s; ask the table", set.Position(n.Pos()), constant)
				}
			case *ast.Ident:
				if f.Name.Name == "presence" && n.Name == constant && !strings.HasSuffix(path, "document.go") { // body's type
					t.Errorf("%s: %s; ask the table", set.Position(n.Pos()), constant)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || files < 50 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// A document is appended to what is there, and can be made of a View in which nothing is set.
func TestDocumentsKeepWhatIsThere(t *testing.T) {
	for p := range LastPackage + 1 {
		for _, v := range []*View{Idle, {}, {Dialogs: []DialogView{{}}}} {
			if got := p.AppendDocument([]byte("x"), Address{}, v, 0); len(got) < 2 || got[0] != 'x' {
				t.Errorf("%s: %q", p, got)
			}
		}
	}
}

// A watcher that is not told a change, because it would see none, misses nothing of its document.
func TestSameViewsHaveTheSameDocument(t *testing.T) {
	text := rapid.SampledFrom([]string{"", "a", "b"})
	view := rapid.Custom(func(t *rapid.T) *View {
		v := &View{State: rapid.SampledFrom([]State{Early, Confirmed, Terminated}).Draw(t, "state"), Closed: rapid.Bool().Draw(t, "closed"),
			HasMessages: rapid.Bool().Draw(t, "has messages"), Messages: Messages{New: rapid.Uint32Range(0, 1).Draw(t, "new"), Account: text.Draw(t, "account")}}
		for range rapid.IntRange(0, 2).Draw(t, "dialogs") {
			v.Dialogs = append(v.Dialogs, DialogView{ID: text.Draw(t, "id"), State: rapid.SampledFrom([]State{Trying, Early, Confirmed}).Draw(t, "of the dialog"),
				Direction: Direction(rapid.Uint8Range(0, 1).Draw(t, "direction")), FromTag: text.Draw(t, "tag"), To: text.Draw(t, "to"), Source: text.Draw(t, "source")})
		}
		return v
	})
	to := Address{Realm: "acme.test", User: "1001"}
	rapid.Check(t, func(t *rapid.T) {
		a, b := view.Draw(t, "a"), view.Draw(t, "b")
		for p := range LastPackage + 1 {
			if same(p, a, b) && !bytes.Equal(p.AppendDocument(nil, to, a, 7), p.AppendDocument(nil, to, b, 7)) {
				t.Errorf("%s: the same to a watcher, but\n%+v\n%+v", p, a, b)
			}
		}
	})
}
