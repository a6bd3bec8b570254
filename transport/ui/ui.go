// Package ui serves the lamp wall: a page on which people watch the lamps of an account, see why one is lit, and set and reset it
// (docs/contract/http.md, "The lamp wall"). The page is plain files in the folder page, which are part of the binary, with the typed client in the
// folder client, which programs of others can install. It is a client of the HTTP API like any other, and this package knows nothing of lamps.
package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"path"
	"strings"

	"lamplight/transport/httpd"
)

//go:embed page client/client.js client/operations.js
var files embed.FS

// policy is the Content-Security-Policy of all files. Scripts, styles and pictures come from this node alone, and the page asks no other
// server. No script can be made of a text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// types are the content types by the end of the file's name.
var types = map[string]string{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml"}

// asset is one file.
type asset struct {
	body      []byte
	kind, tag string // the content type and the ETag
}

// assets are the files of the page, by their names.
var assets = read()

func read() map[string]asset {
	all := map[string]asset{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		sum := sha256.Sum256(body)
		all[path.Base(name)] = asset{body: body, kind: types[path.Ext(name)], tag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
		return err
	})
	if err != nil {
		panic(err) // the files are in the binary
	}
	return all
}

// Mount makes a listener serve the page at /ui, and its files below that.
func Mount(s *httpd.Server) { s.Mount("ui", serve) }

// serve answers one request for a file.
func serve(q *httpd.Request) error {
	name := strings.Join(q.Path[1:], "/")
	if name == "" {
		name = "index.html"
	}
	a, there := assets[name]
	if !there {
		return httpd.Unknown(name)
	}
	if err := q.Methods("GET"); err != nil {
		return err
	}
	h := &q.Response.Header
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // browsers keep the files, and ask each time whether they are the newest
	q.File(a.body, a.kind, a.tag)
	return nil
}
