package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/leasefile"
	"github.com/sextant-net/sextant/internal/vnet"
)

// importLeases reads a lease file here and sends what it has in parts: a file
// may be long, and each lease is taken over by itself anyway.
func importLeases(ctx context.Context, c *call, args []string) error {
	if len(args) == 0 || strings.Contains(args[0], "=") {
		return usagef("%s needs a file: %s", c.cmd.CommandPath(), c.cmd.UseLine())
	}
	if len(args) > 1 {
		return usagef("%s takes no %q", c.cmd.CommandPath(), args[1])
	}
	network := c.query.Get("network")
	if network == "" {
		return usagef("%s: into which network? say network=NAME", c.cmd.CommandPath())
	}
	word, _ := c.cmd.Flags().GetString("format")
	format, err := leasefile.ParseFormat(word)
	if err != nil {
		return &usageError{err}
	}
	dry, _ := c.cmd.Flags().GetBool("dry-run")
	f, err := c.leaseFile(args[0], format)
	if err != nil {
		return err
	}
	t := &taking{c: c, network: network, dry: dry, result: importResult{DryRun: dry, Network: network, Format: string(f.Format)}}
	t.read(f)
	err = t.run(ctx)
	return t.report(args[0], err)
}

// taking is an import under way.
type taking struct {
	c       *call
	network string
	dry     bool
	records []vnet.LeaseRecord
	result  importResult
}

// importResult is what came of an import, as programs read it.
type importResult struct {
	Network  string         `json:"network"`
	Format   string         `json:"format"`
	DryRun   bool           `json:"dryRun,omitempty"`
	Imported int            `json:"imported"`
	Pending  int            `json:"pending,omitempty"`
	Ended    int            `json:"ended"`
	Refused  []vnet.Problem `json:"refused,omitempty"`
	Skipped  []string       `json:"skipped,omitempty"`
}

// read takes the leases of the file that have not ended.
func (t *taking) read(f *leasefile.File) {
	now := time.Now()
	for _, r := range f.Records {
		if !r.Expires.IsZero() && r.Expires.Before(now) {
			t.result.Ended++
			continue
		}
		t.records = append(t.records, vnet.LeaseRecord{
			Address: r.Address, Length: r.Length, MAC: r.MAC, DUID: r.DUID, IAID: r.IAID, Client: r.ClientID, Hostname: r.Hostname,
			Expires: r.Expires, Declined: r.Declined,
		})
	}
	for _, s := range f.Skipped {
		t.result.Skipped = append(t.result.Skipped, s.Error())
	}
	if f.SkippedMore > 0 {
		t.result.Skipped = append(t.result.Skipped, fmt.Sprintf("and %d more", f.SkippedMore))
	}
}

// run sends the leases, part by part.
func (t *taking) run(ctx context.Context) error {
	cl, err := t.c.client()
	if err != nil {
		return err
	}
	advance, stop := t.c.bar("import", len(t.records))
	defer stop()
	w := client.Write{Scope: client.Scope{Project: t.c.project, Network: t.network}, Wait: t.c.wait}
	for part := range slices.Chunk(t.records, vnet.OrderMost) {
		r, err := cl.ImportLeases(ctx, w, part, t.dry)
		if err != nil {
			return err
		}
		if r.Pending {
			t.result.Pending += len(part)
		}
		t.result.Imported += r.Done
		t.result.Refused = append(t.result.Refused, r.Problems...)
		advance(len(part))
	}
	return nil
}

// report says what came of it. Leases that were refused make the command fail,
// after all that could be done was.
func (t *taking) report(file string, failed error) error {
	if err := t.say(failed); err != nil {
		return err
	}
	r := &t.result
	switch {
	case failed != nil && r.Imported > 0:
		return fmt.Errorf("after %s: %w", counted(r.Imported, "lease"), failed)
	case failed != nil:
		return failed
	case len(r.Refused) > 0:
		return vnet.Errorf(vnet.ErrConflict, "lease import: %s of %s could not be taken over", counted(len(r.Refused), "lease"), file)
	}
	return nil
}

func (t *taking) say(failed error) error {
	r := &t.result
	switch t.c.output {
	case "":
	default:
		if failed != nil {
			return nil
		}
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return t.c.write(raw, []column{
			col("NETWORK", "network"), col("FORMAT", "format"), col("IMPORTED", "imported"), col("ENDED", "ended"),
			col("REFUSED", "refused.field"), col("SKIPPED", "skipped"),
		})
	}
	for _, s := range r.Skipped {
		if err := t.c.print("passed over: %s", printable(s)); err != nil {
			return err
		}
	}
	for _, p := range r.Refused {
		if err := t.c.print("%s", printable(problemLine(p))); err != nil {
			return err
		}
	}
	if failed != nil {
		return nil
	}
	words := []string{counted(r.Imported, "lease") + map[bool]string{false: " imported", true: " would be imported"}[t.dry]}
	if r.Pending > 0 {
		words = []string{counted(r.Pending, "lease") + " to be imported"}
	}
	if n := len(r.Refused); n > 0 {
		words = append(words, fmt.Sprintf("%d refused", n))
	}
	if r.Ended > 0 {
		words = append(words, fmt.Sprintf("%d ended before", r.Ended))
	}
	return t.c.print("network %s: %s", t.network, strings.Join(words, ", "))
}

// leaseFile reads a lease file, or stdin for "-".
func (c *call) leaseFile(name string, format leasefile.Format) (*leasefile.File, error) {
	var r io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		r = f
	}
	return leasefile.Read(r, format)
}
