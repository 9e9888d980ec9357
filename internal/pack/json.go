package pack

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// AppendJSON appends the JSON form of the lease, which vnet.DecodeObject reads:
// of a hundred thousand leases without making each of them whole.
func (p *Lease) AppendJSON(b []byte) ([]byte, error) {
	if odd := p.odd(); odd != nil {
		whole, err := json.Marshal(odd)
		return append(b, whole...), err
	}
	k := p.kin.Value()
	w := fields{append(b, '{')}
	w.text("id", string(p.ID()))
	w.text("project", string(k.project))
	w.time("created", p.created)
	w.time("updated", p.updated)
	w.number("revision", p.revision)
	w.text("network", string(k.network))
	w.text("subnet", string(k.subnet))
	w.text("port", string(p.port.Value()))
	w.text("host", k.host)
	w.b = append(p.Address().AppendTo(append(w.name("address"), '"')), '"')
	w.number("hostPart", int64(p.hostPart4()))
	if p.flags&flagHostPart != 0 {
		w.b = strconv.AppendUint(w.name("hostPart"), vnet.InterfaceID(p.Address()), 10)
	}
	if k.family != 0 {
		w.text("family", k.family.String())
	}
	w.text("how", string(k.how))
	if !p.mac.IsZero() {
		w.b = append(p.mac.Append(append(w.name("mac"), '"')), '"')
	}
	var buf [512]byte
	w.text("duid", string(p.AppendDUID(buf[:0])))
	w.number("iaid", int64(p.IAID()))
	w.text("client", string(p.AppendClient(buf[:0])))
	w.text("hostname", p.Hostname())
	w.time("expires", p.expires)
	w.yes("declined", p.Declined())
	w.yes("temporary", p.Temporary())
	return append(w.b, '}'), nil
}

// fields writes the fields of an object that are not zero.
type fields struct{ b []byte }

// name appends a field's name and what precedes its value.
func (w *fields) name(name string) []byte {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	return append(append(append(w.b, '"'), name...), `":`...)
}

func (w *fields) text(name, s string) {
	if s == "" {
		return
	}
	b := w.name(name)
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always has a form
			w.b = append(b, quoted...)
			return
		}
	}
	w.b = append(append(append(b, '"'), s...), '"')
}

func (w *fields) number(name string, n int64) {
	if n != 0 {
		w.b = strconv.AppendInt(w.name(name), n, 10)
	}
}

func (w *fields) time(name string, n int64) {
	if n != 0 {
		w.b = append(timeOf(n).AppendFormat(append(w.name(name), '"'), time.RFC3339Nano), '"')
	}
}

func (w *fields) yes(name string, is bool) {
	if is {
		w.b = append(w.name(name), "true"...)
	}
}
