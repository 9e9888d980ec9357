package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
)

// fault is the one shape of an error on the wire.
type fault struct {
	Kind, Op, Field, Message, Hint string
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestBadRequests: whatever is sent to the API, the answer is one error that
// says what was wrong, nothing changes, and the daemon stays.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh("sextant network create w")
	pid := h.sh("cat /run/sextant/control.pid")
	deep := strings.Repeat(`{"tags":`, 100_000)
	h.unchanged(t, func() {
		for _, tc := range []struct {
			name, method, path, body string
			status                   int
			want                     string
		}{
			{"nothing", "POST", "/v1/networks", "", 400, "body|JSON"},
			{"garbage", "POST", "/v1/networks", "\x00\xff\x01garbage", 400, "JSON"},
			{"half", "POST", "/v1/networks", `{"name":"x"`, 400, "JSON"},
			{"two", "POST", "/v1/networks", `{"name":"x"}{"name":"y"}`, 400, "JSON"},
			{"list", "POST", "/v1/networks", `[{"name":"x"}]`, 400, "object"},
			{"null", "POST", "/v1/networks", `null`, 400, "name"},
			{"number for a name", "POST", "/v1/networks", `{"name":7}`, 400, "name"},
			{"unknown key", "POST", "/v1/networks", `{"name":"x","colour":"red"}`, 400, "colour: unknown key; "},
			{"same key twice", "POST", "/v1/networks", `{"name":"x","name":"y"}`, 400, "name: the key is there twice; "},
			{"deep", "POST", "/v1/networks", deep, 400, "JSON|deep"},
			{"no UTF-8", "POST", "/v1/networks", "{\"name\":\"\xff\xfe\"}", 400, "name|UTF-8"},
			{"patch of nothing", "PATCH", "/v1/networks/w", `garbage`, 400, "JSON"},
			{"bad parameter", "GET", "/v1/networks?limit=lots", "", 400, "limit"},
			{"unknown parameter", "GET", "/v1/networks?colour=red", "", 400, "colour"},
			{"bad wait", "POST", "/v1/networks?wait=ever", `{"name":"x"}`, 400, "wait"},
			{"bad ETag", "DELETE", "/v1/networks/w", "", 400, "If-Match"},
			{"no such path", "GET", "/v2/networks", "", 404, "there is no /v2/networks"},
			{"no such method", "DELETE", "/v1/networks", "", 405, "knows no DELETE"},
			{"traversal", "GET", "/v1/networks/..%2f..%2fhosts", "", 404, "there is no network|name"},
		} {
			req, err := http.NewRequestWithContext(h.ctx, tc.method, "http://sextant"+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if tc.name == "bad ETag" {
				req.Header.Set("If-Match", "nonsense")
			}
			t.Run(tc.name, func(t *testing.T) { h.faulty(t, req, tc.status, tc.want) })
		}
		for name, length := range map[string]int64{"100 MB announced": 100 << 20, "100 MB in chunks": -1} {
			t.Run(name, func(t *testing.T) {
				req, err := http.NewRequestWithContext(h.ctx, "POST", "http://sextant/v1/networks", io.LimitReader(zeros{}, 100<<20))
				if err != nil {
					t.Fatal(err)
				}
				req.ContentLength = length
				h.faulty(t, req, http.StatusRequestEntityTooLarge, "longer than 1 MiB.*one object per request")
				c, err := client.New("unix://" + h.socket())
				if err != nil {
					t.Fatal(err)
				}
				err = c.Do(context.Background(), client.Request{Method: "POST", Path: "/v1/networks", Body: io.LimitReader(zeros{}, 100<<20)}, nil)
				if err == nil || !strings.Contains(err.Error(), "longer than 1 MiB") {
					t.Errorf("our own client: %v", err)
				}
			})
		}
		t.Run("100 MB to restore", func(t *testing.T) {
			path := h.Dir() + "/big"
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 100<<20); err != nil {
				t.Fatal(err)
			}
			h.run("sextant", "restore", path).refused(t, 1, "restore: .*; ")
		})
	})
	if now := h.sh("cat /run/sextant/control.pid"); now != pid {
		t.Error("the daemon was restarted meanwhile")
	}
}

// faulty sends a request that must be answered by an error.
func (h *host) faulty(t *testing.T, req *http.Request, status int, want string) {
	t.Helper()
	c := h.http()
	defer c.CloseIdleConnections()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var f fault
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%s is no error of ours: %v", body, err)
	}
	line := f.Field + ": " + f.Message + "; " + f.Hint
	if resp.StatusCode != status || f.Kind == "" || f.Message == "" {
		t.Errorf("%d %+v, want %d", resp.StatusCode, f, status)
	}
	result{stderr: "sextant: " + line + "\n"}.refused(t, 0, want)
}
