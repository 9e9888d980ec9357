package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// askEnv makes the test binary ask a question and print the outcome, so that
// a test can ask as somebody else.
const askEnv = "SEXTANT_TEST_ASK"

func TestMain(m *testing.M) {
	if socket := os.Getenv(askEnv); socket != "" {
		_, err := (&Client{Socket: socket}).Ask(context.Background(), "", "echo", nil)
		fmt.Println(vnet.KindOf(err), err)
		return
	}
	m.Run()
}

// agent serves h on a socket until the test ends.
func agent(t *testing.T, h HandlerFunc) *Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "ask")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "agent.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &Client{Socket: socket, Host: "here"}
}

func echo(_ context.Context, verb string, args json.RawMessage) (json.RawMessage, error) {
	if verb != "echo" {
		return nil, vnet.Errorf(vnet.ErrUnsupported, "no such verb: %s", verb)
	}
	return args, nil
}

func TestAsk(t *testing.T) {
	c := agent(t, echo)
	for _, tt := range []struct{ args, want string }{
		{`{"a":[1,2,3]}`, `{"a":[1,2,3]}`},
		{`"ü"`, `"ü"`},
		{"", ""},
		{`"` + strings.Repeat("x", 900_000) + `"`, `"` + strings.Repeat("x", 900_000) + `"`},
	} {
		got, err := c.Ask(t.Context(), "here", "echo", json.RawMessage(tt.args))
		if err != nil || !bytes.Equal(got, []byte(tt.want)) {
			t.Errorf("echo of %.20s: %.20s, %v", tt.args, got, err)
		}
	}
}

func TestErrorsTravel(t *testing.T) {
	cause := errors.New("no route")
	want := &vnet.Error{
		Kind: vnet.ErrInUse, Op: "explain", Field: "from", Msg: "it is taken", Hint: "free it",
		Ref: &vnet.Ref{Kind: vnet.KindPort, ID: "p"},
	}
	c := agent(t, func(_ context.Context, verb string, _ json.RawMessage) (json.RawMessage, error) {
		switch verb {
		case "ours":
			e := *want
			e.Err = cause
			return nil, fmt.Errorf("wrapped: %w", &e)
		case "panic":
			panic("oh")
		case "long":
			return json.RawMessage(`"` + strings.Repeat("x", MaxAnswer) + `"`), nil
		}
		return nil, cause
	})
	_, err := c.Ask(t.Context(), "", "ours", nil)
	var got *vnet.Error
	if !errors.As(err, &got) {
		t.Fatalf("%v is no vnet.Error", err)
	}
	want.Msg += ": no route"
	if !reflect.DeepEqual(want, got) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for verb, kind := range map[string]vnet.ErrKind{"other": vnet.ErrInternal, "panic": vnet.ErrInternal, "long": vnet.ErrInternal} {
		if _, err := c.Ask(t.Context(), "", verb, nil); vnet.KindOf(err) != kind {
			t.Errorf("%s: %v, want kind %s", verb, err, kind)
		}
	}
}

func TestRefusals(t *testing.T) {
	c := agent(t, echo)
	for _, tt := range []struct {
		name, host string
		client     *Client
		args       string
		kind       vnet.ErrKind
	}{
		{"another host", "there", c, "", vnet.ErrUnsupported},
		{"nobody there", "", &Client{Socket: c.Socket + "x"}, "", vnet.ErrUnavailable},
		{"question too long", "", c, `"` + strings.Repeat("x", MaxQuestion) + `"`, vnet.ErrInvalid},
		{"no JSON", "", c, `{`, vnet.ErrInvalid},
	} {
		if _, err := tt.client.Ask(t.Context(), tt.host, "echo", json.RawMessage(tt.args)); vnet.KindOf(err) != tt.kind {
			t.Errorf("%s: %v, want kind %s", tt.name, err, tt.kind)
		}
	}
}

func TestRawRubbish(t *testing.T) {
	c := agent(t, echo)
	for _, in := range []string{"\n", "{}\n", "[]\n", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("x", MaxQuestion+10)} {
		conn, err := net.Dial("unix", c.Socket)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Write([]byte(in))
		var a answer
		if err := readLine(conn, MaxAnswer, &a); err != nil || a.Error == nil {
			t.Errorf("%.20q: answer %+v, %v; want an error", in, a, err)
		}
		_ = conn.Close()
	}
	if _, err := c.Ask(t.Context(), "", "echo", nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestOthersMayNotAsk(t *testing.T) {
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "setpriv")
	c := agent(t, echo)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(filepath.Dir(c.Socket), "ask.test") // where nobody may read it
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[string]vnet.ErrKind{"65534": vnet.ErrForbidden, "0": ""} {
		cmd := exec.Command("setpriv", "--reuid="+uid, "--clear-groups", copied)
		cmd.Env = append(os.Environ(), askEnv+"="+c.Socket)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !strings.HasPrefix(string(out), string(want)+" ") {
			t.Errorf("as user %s: %s, want %q", uid, out, want)
		}
	}
}

func TestTimeAndCancel(t *testing.T) {
	seen := make(chan error, 2)
	c := agent(t, func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
		<-ctx.Done()
		seen <- ctx.Err()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Ask(ctx, "", "slow", nil); vnet.KindOf(err) != vnet.ErrUnavailable {
		t.Errorf("past the deadline: %v", err)
	}
	<-seen
	ctx, cancel = context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() {
		_, err := c.Ask(ctx, "", "slow", nil)
		asked <- err
	}()
	cancel()
	if err := <-asked; vnet.KindOf(err) != vnet.ErrUnavailable {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzReadLine(f *testing.F) {
	f.Add([]byte(`{"verb":"plan","args":{"x":1},"millis":5}` + "\n"))
	f.Add([]byte("{\n"))
	f.Add(bytes.Repeat([]byte("["), 300))
	f.Fuzz(func(t *testing.T, in []byte) {
		var q question
		if err := readLine(bytes.NewReader(in), 200, &q); err == nil && len(in) > 201 && !bytes.Contains(in[:201], []byte("\n")) {
			t.Errorf("a line of more than 200 bytes was read")
		}
	})
}
