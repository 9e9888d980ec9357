// Package dialecttest replays recorded conversations against a dialect.
//
// A conversation is a txtar file that a user of the API can read: a comment,
// then pairs of files, a request and what must come back.
//
//	-- create a network --
//	POST /v1/networks
//	If-Match: "3"
//
//	{"name": "web"}
//	-- response --
//	201
//	Etag: "4"
//
//	{
//	  "name": "web"
//	}
//
// Of the headers only those that the recording names are compared. Bodies that
// are JSON are compared in indented form.
package dialecttest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// update rewrites the recordings from what is answered now.
var update = flag.Bool("update", false, "rewrite recorded conversations")

// maxTurns bounds a conversation, so that a broken file cannot run for ever.
const maxTurns = 200

// Replay runs every conversation that the pattern names, each against a
// handler of its own.
func Replay(t *testing.T, pattern string, handler func(t *testing.T) http.Handler) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations match %s: %v", pattern, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			replay(t, name, handler(t))
		})
	}
}

func replay(t *testing.T, name string, h http.Handler) {
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files)%2 != 0 || len(a.Files) > 2*maxTurns {
		t.Fatalf("%s: requests and responses must come in pairs, at most %d", name, maxTurns)
	}
	for i := 0; i < len(a.Files); i += 2 {
		turn, want := a.Files[i], string(a.Files[i+1].Data)
		req, err := parseRequest(turn.Data)
		if err != nil {
			t.Fatalf("%s: %s: %v", name, turn.Name, err)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		got := render(rec, want)
		if *update {
			a.Files[i+1].Data = []byte(got)
			continue
		}
		if diff := cmp.Diff(normal(want), normal(got)); diff != "" {
			t.Errorf("%s: %s (- recorded, + answered)\n%s", name, turn.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// parseRequest reads "METHOD PATH", headers, an empty line and the body.
func parseRequest(data []byte) (*http.Request, error) {
	head, body, _ := bytes.Cut(data, []byte("\n\n"))
	lines := bufio.NewScanner(bytes.NewReader(head))
	if !lines.Scan() {
		return nil, fmt.Errorf("empty request")
	}
	method, path, ok := strings.Cut(lines.Text(), " ")
	if !ok {
		return nil, fmt.Errorf("%q is not METHOD PATH", lines.Text())
	}
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	for lines.Scan() {
		k, v, ok := strings.Cut(lines.Text(), ": ")
		if !ok {
			return nil, fmt.Errorf("%q is no header", lines.Text())
		}
		req.Header.Set(k, v)
	}
	return req, nil
}

// render writes an answer the way it is recorded, with the headers that the
// recording names (all of interest, if there is no recording yet).
func render(rec *httptest.ResponseRecorder, want string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", rec.Code)
	head, _, _ := strings.Cut(want, "\n\n")
	named := strings.Split(head, "\n")[1:]
	if want == "" {
		named = []string{"Etag: "}
	}
	for _, line := range named {
		k, _, _ := strings.Cut(line, ": ")
		if v := rec.Header().Get(k); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", k, v)
		}
	}
	body := rec.Body.Bytes()
	var out bytes.Buffer
	if json.Indent(&out, body, "", "  ") == nil {
		body = out.Bytes()
	}
	if body = bytes.TrimSpace(body); len(body) > 0 {
		fmt.Fprintf(&b, "\n%s\n", body)
	}
	return b.String()
}

// normal forgives what editors do to the end of a file.
func normal(s string) string { return strings.TrimSpace(s) }
