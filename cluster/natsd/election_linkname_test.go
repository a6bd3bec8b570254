package natsd

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/printer"
	gotoken "go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// reviewedServer is the version of the NATS server whose lookupRaftNode, Campaign, createRoute and createClient somebody has read. Whoever puts
// another version here has checked this in its source. lookupRaftNode, createRoute and createClient take their locks themselves and may be called
// from any goroutine. Campaign only asks for votes, and a member that has missed something gets none. The server's own listener
// gives its connections to createRoute with the arguments of takeRoute, and a server that connects sends CONNECT first. Its listener
// for clients gives them to createClient, which leaves a connection open that it gets in lame duck mode.
const reviewedServer = "v2.15.2"

// reviewed is the methods that we link to, by the file of the NATS server that has them.
var reviewed = map[string]string{
	"raft.go":   "func (s *Server) lookupRaftNode(group string) RaftNode",
	"server.go": "func (s *Server) createClient(conn net.Conn) *client",
	"route.go":  "func (s *Server) createRoute(conn net.Conn, rURL *url.URL, rtype RouteType, gossipMode byte, accName string) *client",
}

// The NATS server in go.mod is the one that was reviewed, and the methods have the signatures there that we link to.
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
		t.Errorf("go.mod has NATS server %s (replaced by %v), and %s was reviewed: read lookupRaftNode, Campaign, createRoute and createClient there, or build with -tags nolinkname",
			module.Version, module.Replace, reviewedServer)
	}
	for name, signature := range reviewed {
		files := gotoken.NewFileSet()
		file, err := parser.ParseFile(files, filepath.Join(module.Dir, "server", name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		has := slices.ContainsFunc(file.Decls, func(d ast.Decl) bool {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				return false
			}
			f.Body, f.Doc = nil, nil
			var found strings.Builder
			return printer.Fprint(&found, files, f) == nil && found.String() == signature
		})
		if !has {
			t.Errorf("server/%s of NATS server %s has no %q, which we link", name, module.Version, signature)
		}
	}
}
