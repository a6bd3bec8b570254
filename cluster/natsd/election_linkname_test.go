package natsd

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/printer"
	gotoken "go/token"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The version of the NATS server whose lookupRaftNode and Campaign somebody has read. Whoever puts another version here
// has checked two things in its source. lookupRaftNode takes its locks itself and may be called from any goroutine.
// Campaign only asks for votes, and a member that has missed something gets none.
const (
	reviewedServer = "v2.15.2"
	reviewedLookup = "func (s *Server) lookupRaftNode(group string) RaftNode"
)

// The NATS server in go.mod is the one that was reviewed, and lookupRaftNode has the signature there that we link to.
func TestReviewedServer(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-json", "github.com/nats-io/nats-server/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	var module struct {
		Version, Dir string
		Replace      *struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	if module.Version != reviewedServer || module.Replace != nil {
		t.Errorf("go.mod has NATS server %s (replaced by %v), and %s was reviewed: read lookupRaftNode and Campaign there, or build with -tags nolinkname",
			module.Version, module.Replace, reviewedServer)
	}
	files := gotoken.NewFileSet()
	file, err := parser.ParseFile(files, filepath.Join(module.Dir, "server", "raft.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "lookupRaftNode" {
			continue
		}
		f.Body, f.Doc = nil, nil
		var signature strings.Builder
		if err := printer.Fprint(&signature, files, f); err != nil {
			t.Fatal(err)
		}
		if signature.String() != reviewedLookup {
			t.Errorf("the NATS server has %q, and election_linkname.go links %q", signature.String(), reviewedLookup)
		}
		return
	}
	t.Errorf("server/raft.go of NATS server %s has no lookupRaftNode; election_linkname.go links it", module.Version)
}
