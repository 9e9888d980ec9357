package vm

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

func TestRunExitStatus(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	netnstest.NeedRoot(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	code, err := Run(ctx, Command{
		Script: `echo "says $WORD in $PWD"; test -x /bin/sh && touch /usr/written && exit 7`,
		Dir:    "/usr", Env: []string{"WORD=it's"}, Output: &out,
	})
	if err != nil || code != 7 {
		t.Fatalf("exit status %d, %v\n%s", code, err, out.String())
	}
	if !strings.Contains(out.String(), "says it's in /usr") {
		t.Errorf("printed %q", out.String())
	}
}
