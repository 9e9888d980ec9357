package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// confirmFlag is the flag of set that makes sharing, or its end, a trial.
const confirmFlag = "confirm"

// uplinkVerbs adds to the verbs of every noun what uplinks have beside.
func uplinkVerbs(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.Name() == "set" {
			c.Flags().Duration(confirmFlag, 0, "with shared=: take it back after this `time` unless sextant confirm comes first")
		}
	}
}

// onTrial passes the time to confirm in on to the daemon.
func (c *call) onTrial() error {
	f := c.cmd.Flags().Lookup(confirmFlag)
	if f == nil || !f.Changed {
		return nil
	}
	if d, err := c.cmd.Flags().GetDuration(confirmFlag); err != nil || d <= 0 {
		return usagef("--%s: %s is no time to confirm in; write it as 60s", confirmFlag, f.Value)
	}
	c.query.Set(confirmFlag, f.Value.String())
	return nil
}

// sayUplink says what became of an uplink, where its addresses are if it is
// shared, and until when what waits can be confirmed; then what is wrong, if
// anything is.
func (c *call) sayUplink(what string, object json.RawMessage) error {
	var u struct {
		Name     string         `json:"name"`
		Lower    string         `json:"lower"`
		Problems []vnet.Problem `json:"problems"`
		Policy   struct {
			Until time.Time `json:"until"`
		} `json:"policy"`
	}
	if err := json.Unmarshal(object, &u); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "uplink %s %s", c.name, what)
	colon := ": "
	if c.wait > 0 && u.Lower == c.name {
		fmt.Fprintf(&b, "%sit is shared, its addresses are on the bridge %s", colon, u.Name)
		colon = "; "
	}
	if !u.Policy.Until.IsZero() {
		fmt.Fprintf(&b, "%staken back at %s unless you say: sextant confirm", colon, u.Policy.Until.Local().Format("15:04:05"))
	}
	b.WriteString("\n")
	if c.wait > 0 {
		for _, p := range u.Problems {
			fmt.Fprintf(&b, "  problem: %s\n", problemLine(p))
		}
	}
	_, err := fmt.Fprint(c.Stdout, b.String())
	return err
}

// deadline is a line of YAML with a moment until which something lasts.
var deadline = regexp.MustCompile(`(?m)^( *(?:- )?(?:until|preferredUntil|validUntil): "?)([0-9TZ:.+-]+)("?)$`)

// showUplink writes facts and policy as YAML, with how long each thing lasts as
// a comment behind its end.
func (c *call) showUplink(object json.RawMessage) error {
	b, err := toYAML(object)
	if err != nil {
		return err
	}
	now := time.Now()
	_, err = c.Stdout.Write(deadline.ReplaceAllFunc(b, func(line []byte) []byte {
		m := deadline.FindSubmatch(line)
		t, err := time.Parse(time.RFC3339Nano, string(m[2]))
		if err != nil {
			return line
		}
		return fmt.Appendf(nil, "%s # %s", line, left(t.Sub(now)))
	}))
	return err
}

// left says how long something lasts still.
func left(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < 0:
		return vnet.Duration(-d).String() + " ago"
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days left", d/(24*time.Hour))
	}
	return vnet.Duration(d).String() + " left"
}

func (a *app) confirmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "confirm", Short: "Keep what was changed with --confirm, before its time is over", Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := cl.Do(background(cmd), client.Request{Method: http.MethodPost, Path: "/v1/confirm"}, &raw); err != nil {
				return err
			}
			return a.answer(raw, a.sayConfirmed)
		},
	}
}

// sayConfirmed writes a line for each uplink.
func (a *app) sayConfirmed(raw json.RawMessage) error {
	var kept client.Confirmed
	if err := json.Unmarshal(raw, &kept); err != nil {
		return err
	}
	var b strings.Builder
	for _, u := range kept.Uplinks {
		what := "not shared any more"
		if u.Shared {
			what = "shared"
		}
		fmt.Fprintf(&b, "uplink %s on %s is %s, for good\n", u.Name, u.Host, what)
	}
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}
