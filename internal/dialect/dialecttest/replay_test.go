package dialecttest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestParseRequest(t *testing.T) {
	req, err := parseRequest([]byte("PUT /a?b=c\nIf-Match: \"3\"\nX-Y: z: z\n\n{}\n\nmore"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil || req.Method != "PUT" || req.URL.String() != "/a?b=c" || req.Header.Get("X-Y") != "z: z" || string(body) != "{}\n\nmore" {
		t.Errorf("%v %q %v", req, body, err)
	}
	for _, bad := range []string{"", "GET", "GET /\nno header"} {
		if _, err := parseRequest([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestRender(t *testing.T) {
	rec := httptest.NewRecorder()
	rec.Header().Set("ETag", `"7"`)
	rec.Header().Set("Date", "today")
	rec.WriteHeader(http.StatusCreated)
	_, _ = rec.WriteString(`{"a":[1]}`)
	want := "201\nEtag: \"7\"\n\n{\n  \"a\": [\n    1\n  ]\n}\n"
	if got := render(rec, want); got != want {
		t.Errorf("got %q", got)
	}
	// A header that the recording does not name is nobody's business; one that
	// it names and that is not there is missing.
	if got := render(rec, "201\nLocation: /x\n\n"); got != "201\n\n{\n  \"a\": [\n    1\n  ]\n}\n" {
		t.Errorf("got %q", got)
	}
}
