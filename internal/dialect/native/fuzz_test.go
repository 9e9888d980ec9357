package native

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

// FuzzBodies: no body, whatever it holds, is a fault of ours, and every
// refusal has its shape.
func FuzzBodies(f *testing.F) {
	calls := []struct{ method, path string }{
		{"POST", "/v1/networks"}, {"POST", "/v1/ports?network=web"}, {"PATCH", "/v1/networks/web"}, {"PUT", "/v1/networks/web"},
		{"POST", "/v1/ports/vm1/plug?network=web"}, {"POST", "/v1/reservations"}, {"POST", "/v1/cleanup"},
		{"PATCH", "/v1/uplinks/eth0?confirm=60s"}, {"PUT", "/v1/uplinks/eth0"},
	}
	for _, s := range []string{
		`{"name":"a"}`, `{"name":"a","ipv4":{"mode":"nat","address":"192.0.2.1/24"}}`, `{"ipv6":null}`, `[]`, `null`, `"x"`, `{`, ``,
		`{"binding":{"plug":"tap","device":"tap7"},"port":{"mac":"52:54:00:00:00:01"}}`, `{"name":"a","tags":{"a":1}}`,
		`{"created":"x"}`, `{"name":"\ud800"}`, `{"mtu":1e99}`, `{"ipv4":{"ranges":[{"first":"::"}]}}`,
		`{"policy":{"shared":true,"hint":56,"prefixes":["2001:db8::/48"],"settle":"1s","until":"x"}}`, `{"policy":null}`,
	} {
		for i := range calls {
			f.Add(byte(i), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		c := calls[int(which)%len(calls)]
		fake := NewFake()
		h := asRoot(New(Config{Verbs: fake}))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/v1/networks", bytes.NewReader([]byte(`{"name":"web"}`))))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(c.method, c.path, bytes.NewReader(body)))
		if rec.Code >= http.StatusInternalServerError {
			t.Errorf("%s %s %q: %d %s", c.method, c.path, body, rec.Code, rec.Body)
		}
		if rec.Code >= 400 && !bytes.Contains(rec.Body.Bytes(), []byte(`"message":`)) {
			t.Errorf("%s %s %q: %d %s", c.method, c.path, body, rec.Code, rec.Body)
		}
	})
}
