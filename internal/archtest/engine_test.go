package archtest

import "testing"

// TestEngines: the engines of the protocol servers have no sockets and no
// clock.
func TestEngines(t *testing.T) {
	_, files := load(t)
	seen := 0
	for _, f := range files {
		for _, err := range judgeEngine(f) {
			t.Error(err)
		}
		if matches("internal/server/*", f.dir) && f.path == f.dir+"/engine.go" {
			seen++
		}
	}
	if seen < 5 {
		t.Errorf("only %d engines", seen)
	}
}

func TestJudgeEngine(t *testing.T) {
	for src, want := range map[string]int{
		"package x\nimport \"net\"":                                        1,
		"package x\nimport \"net/netip\"":                                  0,
		"package x\nimport \"golang.org/x/sys/unix\"":                      1,
		"package x\nimport \"time\"\nvar a = time.Now()":                   1,
		"package x\nimport \"time\"\nvar a = time.Second":                  0,
		"package x\nimport \"time\"\nfunc f() { <-time.After(1); _ = 0 }":  1,
		"package x\nimport \"os\"\nimport \"time\"\nvar f = time.NewTimer": 2,
	} {
		f := parse(t, "internal/server/x/engine.go", src)
		f.dir = "internal/server/x"
		if got := judgeEngine(f); len(got) != want {
			t.Errorf("%q: %v, want %d", src, got, want)
		}
		if f.path = "internal/server/x/conn.go"; len(judgeEngine(f)) > 0 {
			t.Errorf("%q: in conn.go it is fine", src)
		}
	}
}
