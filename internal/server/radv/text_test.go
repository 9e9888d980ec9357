package radv

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/ndp"
)

// text writes an advertisement as radvdump would, in short.
func text(b []byte) string {
	var out strings.Builder
	m, err := ndp.ParseMessage(b[:headerLen])
	if err != nil {
		return err.Error()
	}
	ra := m.(*ndp.RouterAdvertisement)
	fmt.Fprintf(&out, "router lifetime %v M=%t O=%t hop limit %d", ra.RouterLifetime, ra.ManagedConfiguration, ra.OtherConfiguration, ra.CurrentHopLimit)
	if ra.RouterSelectionPreference != ndp.Medium {
		fmt.Fprintf(&out, " preference %d", ra.RouterSelectionPreference)
	}
	if ra.ReachableTime != 0 || ra.RetransmitTimer != 0 {
		fmt.Fprintf(&out, " reachable %v retrans %v", ra.ReachableTime, ra.RetransmitTimer)
	}
	if b[5]&0x27 != 0 {
		fmt.Fprintf(&out, " reserved flags %#x", b[5]&0x27)
	}
	out.WriteByte('\n')
	for _, o := range rawOptions(b) {
		out.WriteString(optionText(o) + "\n")
	}
	return out.String()
}

// rawOptions are an advertisement's options as they are on the wire.
func rawOptions(b []byte) (out [][]byte) {
	for b = b[headerLen:]; len(b) >= 8 && b[1] != 0 && len(b) >= 8*int(b[1]); b = b[8*int(b[1]):] {
		out = append(out, b[:8*int(b[1])])
	}
	return out
}

func optionText(o []byte) string {
	switch o[0] {
	case optPrefix: // by hand: the codec drops R and P
		s := fmt.Sprintf("prefix %v/%d L=%t A=%t", netip.AddrFrom16([16]byte(o[16:32])), o[2], o[3]&0x80 != 0, o[3]&0x40 != 0)
		for i, name := range []string{" R", " P", " 8", " 4", " 2", " 1"} {
			if o[3]&(0x20>>i) != 0 {
				s += name
			}
		}
		return s + fmt.Sprintf(" preferred %v valid %v", wireSeconds(o[8:]), wireSeconds(o[4:]))
	case optEncrypted:
		return fmt.Sprintf("encrypted priority %d %v: %x", binary.BigEndian.Uint16(o[2:]), wireSeconds(o[4:]), o[8:])
	case optDNSSL:
		return fmt.Sprintf("dnssl %v %v", names(o[8:]), wireSeconds(o[4:]))
	}
	m, err := ndp.ParseMessage(slices.Concat([]byte{134, 15: 0}, o))
	if err != nil {
		return err.Error()
	}
	switch o := m.(*ndp.RouterAdvertisement).Options[0].(type) {
	case *ndp.RouteInformation:
		return fmt.Sprintf("route %v/%d preference %d %v", o.Prefix, o.PrefixLength, o.Preference, o.RouteLifetime)
	case *ndp.RecursiveDNSServer:
		return fmt.Sprintf("rdnss %v %v", o.Servers, o.Lifetime)
	case *ndp.MTU:
		return fmt.Sprintf("mtu %d", o.MTU)
	case *ndp.LinkLayerAddress:
		return fmt.Sprintf("source %v", o.Addr)
	case *ndp.PREF64:
		return fmt.Sprintf("pref64 %v %v", o.Prefix, o.Lifetime)
	case *ndp.CaptivePortal:
		return "portal " + o.URI
	default:
		return fmt.Sprintf("%T", o)
	}
}

func wireSeconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Second
}

// names reads domain names until the padding.
func names(b []byte) (out []string) {
	for len(b) > 0 && b[0] != 0 {
		var labels []string
		for b[0] != 0 {
			labels = append(labels, string(b[1:1+b[0]]))
			b = b[1+b[0]:]
		}
		out, b = append(out, strings.Join(labels, ".")), b[1:]
	}
	return out
}

// texts are messages one after another.
func texts(out []message) string {
	var all []string
	for _, m := range out {
		all = append(all, text(m.data))
	}
	return strings.Join(all, "--\n")
}
