package rpc

import (
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// memory is a Handler with networks in memory. It knows of XML only names.
type memory struct {
	mu      sync.Mutex
	server  *Server
	nets    []*entry
	ports   []portEntry
	callers []Caller
	hold    chan struct{}         // if not nil NetworkCreate waits for it
	begun   chan struct{}         // gets a token when it does
	asked   func(context.Context) // if not nil, called by ListNetworks
}

type entry struct {
	Network
	State
	xml, title string
}

type portEntry struct {
	Port
	xml string
}

var nameElement = regexp.MustCompile(`<name>([^<]*)</name>`)

// uuidOf makes a UUID of a text, the same each time.
func uuidOf(text string) UUID {
	h := sha256.Sum256([]byte(text))
	return UUID(h[:16])
}

func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

func (m *memory) find(who Caller, n Network) (*entry, error) {
	m.callers = append(m.callers, who)
	for _, e := range m.nets {
		if e.UUID == n.UUID {
			return e, nil
		}
	}
	return nil, Errorf(CodeNoNetwork, "no network with matching uuid '%s' (%s)", n.UUID, n.Name)
}

func (m *memory) NetworkLookupByName(_ context.Context, who Caller, name string) (Network, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, err := m.find(who, Network{UUID: uuidOf(name)}); err == nil {
		return e.Network, nil
	}
	return Network{}, Errorf(CodeNoNetwork, "no network with matching name '%s'", name)
}

func (m *memory) NetworkLookupByUUID(_ context.Context, who Caller, id UUID) (Network, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, err := m.find(who, Network{UUID: id}); err == nil {
		return e.Network, nil
	}
	return Network{}, Errorf(CodeNoNetwork, "no network with matching uuid '%s'", id)
}

func (m *memory) ListNetworks(ctx context.Context, _ Caller, flags uint32) (out []Network, _ error) {
	if m.asked != nil {
		m.asked(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.nets {
		if flags&(listActive|listInactive) == 0 || flags&listActive != 0 && e.Active || flags&listInactive != 0 && !e.Active {
			out = append(out, e.Network)
		}
	}
	return out, nil
}

func (m *memory) NetworkState(_ context.Context, who Caller, n Network) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.find(who, n)
	if err != nil {
		return State{}, err
	}
	return e.State, nil
}

func (m *memory) NetworkGetDHCPLeases(_ context.Context, who Caller, n Network, mac *string, _ uint32) ([]Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.find(who, n)
	if err != nil {
		return nil, err
	}
	if mac != nil && !regexp.MustCompile(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`).MatchString(*mac) {
		return nil, Errorf(CodeInvalidMAC, "%s", *mac)
	}
	a, name, id := "52:54:00:aa:00:01", "web", "00:01:00:01"
	return []Lease{
		{Interface: e.Bridge, Expiry: 4102444800, Type: AddrIPv4, MAC: &a, Address: "192.0.2.10", Prefix: 24, Hostname: &name},
		{Interface: e.Bridge, Type: AddrIPv6, MAC: &a, IAID: &id, Address: "2001:db8::10", Prefix: 64, ClientID: &id},
	}, nil
}

func (m *memory) NetworkGetXMLDesc(_ context.Context, who Caller, n Network, _ uint32) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.find(who, n)
	if err != nil {
		return "", err
	}
	return e.xml, nil
}

func (m *memory) NetworkDefineXML(_ context.Context, who Caller, xml string, _ uint32) (Network, error) {
	return m.make(who, xml, func(s *State) { s.Persistent = true }, Defined)
}

func (m *memory) NetworkCreateXML(_ context.Context, who Caller, xml string, _ uint32) (Network, error) {
	return m.make(who, xml, func(s *State) { s.Active = true }, Started)
}

func (m *memory) make(who Caller, xml string, set func(*State), what Lifecycle) (Network, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := nameElement.FindStringSubmatch(xml)
	if found == nil {
		return Network{}, Errorf(CodeXML, "missing network name")
	}
	if found[1] == "panic" {
		panic("on purpose")
	}
	n := Network{Name: found[1], UUID: uuidOf(found[1])}
	e, err := m.find(who, n)
	if err != nil {
		e = &entry{Network: n, State: State{Bridge: "virbr-" + n.Name}}
		m.nets = append(m.nets, e)
	}
	e.xml = xml
	set(&e.State)
	m.server.NetworkLifecycle(n, what)
	return n, nil
}

// change changes a network's state and tells of it.
func (m *memory) change(who Caller, n Network, what Lifecycle, f func(*entry) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.find(who, n)
	if err != nil {
		return err
	}
	if err := f(e); err != nil {
		return err
	}
	if what >= 0 {
		m.server.NetworkLifecycle(e.Network, what)
	}
	return nil
}

func (m *memory) NetworkCreate(ctx context.Context, who Caller, n Network) error {
	if m.hold != nil {
		m.begun <- struct{}{}
		select {
		case <-m.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return m.change(who, n, Started, func(e *entry) error {
		if e.Active {
			return Errorf(CodeOperationInvalid, "network is already active")
		}
		e.Active = true
		return nil
	})
}

func (m *memory) NetworkDestroy(_ context.Context, who Caller, n Network) error {
	return m.change(who, n, Stopped, func(e *entry) error {
		if !e.Active {
			return Errorf(CodeOperationInvalid, "network '%s' is not active", e.Name)
		}
		e.Active = false
		return nil
	})
}

func (m *memory) NetworkUndefine(_ context.Context, who Caller, n Network) error {
	return m.change(who, n, Undefined, func(e *entry) error {
		m.nets = slices.DeleteFunc(m.nets, func(o *entry) bool { return o == e })
		return nil
	})
}

func (m *memory) NetworkSetAutostart(_ context.Context, who Caller, n Network, on bool) error {
	return m.change(who, n, -1, func(e *entry) error { e.Autostart = on; return nil })
}

func (m *memory) NetworkUpdate(_ context.Context, who Caller, u Update) error {
	return m.change(who, u.Network, -1, func(e *entry) error {
		e.xml += fmt.Sprintf("<!-- command %d section %d parent %d flags %d: %s -->\n", u.Command, u.Section, u.ParentIndex, u.Flags, u.XML)
		return nil
	})
}

func (m *memory) NetworkSetMetadata(_ context.Context, who Caller, d Metadata) error {
	return m.change(who, d.Network, -1, func(e *entry) error {
		if e.title = ""; d.Metadata != nil {
			e.title = *d.Metadata
		}
		m.server.NetworkMetadataChange(e.Network, d.Type, d.URI)
		return nil
	})
}

func (m *memory) NetworkGetMetadata(_ context.Context, who Caller, d Metadata) (title string, err error) {
	err = m.change(who, d.Network, -1, func(e *entry) error {
		if title = e.title; title == "" {
			return Errorf(CodeNoNetworkMetadata, "Requested metadata element is not present")
		}
		return nil
	})
	return title, err
}

func (m *memory) NetworkListAllPorts(_ context.Context, _ Caller, n Network, _ uint32) (out []Port, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.ports {
		if p.Network.UUID == n.UUID {
			out = append(out, p.Port)
		}
	}
	return out, nil
}

func (m *memory) port(p Port) (*portEntry, error) {
	for i := range m.ports {
		if m.ports[i].UUID == p.UUID {
			return &m.ports[i], nil
		}
	}
	return nil, Errorf(CodeNoNetworkPort, "Network port with UUID %s does not exist", p.UUID)
}

func (m *memory) NetworkPortLookupByUUID(_ context.Context, _ Caller, n Network, id UUID) (Port, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.port(Port{n, id})
	if err != nil {
		return Port{}, err
	}
	return p.Port, nil
}

func (m *memory) NetworkPortCreateXML(_ context.Context, _ Caller, n Network, xml string, _ uint32) (Port, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := portEntry{Port{n, uuidOf(xml)}, xml}
	m.ports = append(m.ports, p)
	return p.Port, nil
}

func (m *memory) NetworkPortGetXMLDesc(_ context.Context, _ Caller, p Port, _ uint32) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.port(p)
	if err != nil {
		return "", err
	}
	return e.xml, nil
}

func (m *memory) NetworkPortDelete(_ context.Context, _ Caller, p Port, _ uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.port(p); err != nil {
		return err
	}
	m.ports = slices.DeleteFunc(m.ports, func(o portEntry) bool { return o.UUID == p.UUID })
	return nil
}

func (m *memory) NetworkPortGetParameters(context.Context, Caller, Port, uint32) ([]xdr.Param, error) {
	return []xdr.Param{{Field: "inbound.average", Value: uint32(1000)}}, nil
}

func (m *memory) NetworkPortSetParameters(_ context.Context, _ Caller, _ Port, params []xdr.Param, _ uint32) error {
	if len(params) != 1 || params[0].Value != uint32(7) {
		return Errorf(CodeInternal, "unexpected parameters %v", params)
	}
	return nil
}
