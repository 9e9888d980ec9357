package native

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// openapiFile is the description of the API as it is published.
const openapiFile = "../../../docs/openapi/openapi.json"

// TestOpenAPI holds the published description to what is served. Run with
// -update after a change of the wire types.
func TestOpenAPI(t *testing.T) {
	rec := httptest.NewRecorder()
	testHandler(t).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var got bytes.Buffer
	if err := json.Indent(&got, rec.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(openapiFile, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(openapiFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is out of date: go test ./internal/dialect/native -run OpenAPI -update", openapiFile)
	}
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(got.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi is %s", doc.OpenAPI)
	}
	for path, methods := range map[string][]string{
		"/v1/networks":              {"get", "post"},
		"/v1/networks/{name}":       {"get", "put", "patch", "delete"},
		"/v1/networks/{name}/start": {"post"},
		"/v1/networks/{name}/stop":  {"post"},
		"/v1/subnets":               {"get", "post"},
		"/v1/pools":                 {"get", "post"},
		"/v1/routers":               {"get", "post"},
		"/v1/ports/{name}/plug":     {"post"},
		"/v1/ports/{name}/unplug":   {"post"},
		"/v1/reservations":          {"get", "post"},
		"/v1/leases":                {"get"},
		"/v1/leases/{name}/release": {"post"},
		"/v1/leases/import":         {"post"},
		"/v1/leases/watch":          {"get"},
		"/v1/leases/history":        {"get"},
		"/v1/hosts":                 {"get"},
		"/v1/uplinks":               {"get"},
		"/v1/uplinks/{name}":        {"get", "put", "patch", "delete"},
		"/v1/confirm":               {"post"},
		"/v1/projects":              {"get", "post"},
		"/v1/prefixes":              {"get"},
		"/v1/status":                {"get"},
		"/v1/why/{address}":         {"get"},
		"/v1/events":                {"get"},
		"/v1/backup":                {"get"},
		"/v1/restore":               {"post"},
		"/v1/cleanup":               {"post"},
	} {
		for _, m := range methods {
			if _, ok := doc.Paths[path][m]; !ok {
				t.Errorf("%s %s is not described", m, path)
			}
		}
	}
}

// TestReadmeNamesEveryPath holds the table of supported calls to what is
// served.
func TestReadmeNamesEveryPath(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(openapiFile)
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Paths map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(doc, &api); err != nil {
		t.Fatal(err)
	}
	for path := range api.Paths {
		// Paths of one object stand beside their list.
		path = strings.TrimSuffix(path, "/{name}")
		i := strings.LastIndexByte(path, '/')
		if !bytes.Contains(readme, []byte(path)) && !bytes.Contains(readme, []byte("`…"+path[i:]+"`")) {
			t.Errorf("README.md lacks %s", path)
		}
	}
}
