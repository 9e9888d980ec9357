package rpc

import (
	"context"
	"net/url"
	"sync"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// session is what a connection has come to.
type session struct {
	mu        sync.Mutex
	opened    bool
	readOnly  bool
	forwarded *Identity
	events    registrations
}

// URI is the only one that may be opened here.
const URI = "network:///system"

// openReadOnly is VIR_CONNECT_RO.
const openReadOnly = 1

// isOpen reports whether virConnectOpen has succeeded.
func (c *conn) isOpen() bool {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.opened
}

// caller is who calls now.
func (c *conn) caller() Caller {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return Caller{Peer: c.peer, Conn: c.id, ReadOnly: c.session.readOnly, Forwarded: c.session.forwarded}
}

func connectOpen(_ context.Context, c *conn, a *openArgs) (void, error) {
	s := &c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened {
		return void{}, rpcErrorf(CodeInternal, "connection already open")
	}
	if err := judgeURI(a.uri); err != nil {
		return void{}, err
	}
	s.opened = true
	s.readOnly = s.readOnly || a.flags&openReadOnly != 0
	c.known()
	return void{}, nil
}

// judgeURI refuses what a network driver does not open.
func judgeURI(uri *string) error {
	if uri == nil || *uri == "" {
		return &Error{Code: CodeNoConnect, Detail: "<null>"}
	}
	u, err := url.Parse(*uri)
	if err != nil || u.Scheme != "network" || u.Host != "" {
		return &Error{Code: CodeNoConnect, Detail: *uri}
	}
	if u.Path != "/system" {
		return &Error{Code: CodeInternal, Detail: "unexpected network URI path '" + u.Path + "', try " + URI}
	}
	return nil
}

func connectClose(_ context.Context, c *conn, _ *void) (void, error) {
	c.closing = true
	return void{}, nil
}

func connectGetType(context.Context, *conn, *void) (textValue, error) {
	return textValue{"network"}, nil
}

func connectGetURI(context.Context, *conn, *void) (textValue, error) { return textValue{URI}, nil }

// connectIsSecure is always true: nobody listens on a Unix socket.
func connectIsSecure(context.Context, *conn, *void) (boolValue, error) { return boolValue{true}, nil }

func connectGetLibVersion(_ context.Context, c *conn, _ *void) (uhyperValue, error) {
	return uhyperValue{c.server.opts.LibVersion}, nil
}

// closeCallback lets a client wait for word that the driver lost its own
// connection. This one has none that it could lose.
func closeCallback(context.Context, *conn, *void) (void, error) { return void{}, nil }

func authList(context.Context, *conn, *void) (authTypes, error) {
	const none = 0 // REMOTE_AUTH_NONE: the kernel says who it is
	return authTypes{types: []xdr.Number{none}}, nil
}

func authRefused(context.Context, *conn, *void) (void, error) {
	return void{}, rpcErrorf(CodeAuthFailed, "authentication failed")
}

// Features of a connection (virDrvFeature) that a network driver is asked for.
const (
	featureTypedParamString = 9
	featureKeepAlive        = 10
	featureEventCallback    = 14
	featureCloseCallback    = 15
	featureUpdateOrder      = 16 // NetworkUpdate has command before section
)

// connectSupportsFeature also begins the keep-alive: a client that asks for it
// answers pings (remoteDispatchConnectSupportsFeature). Descriptors (feature
// 8), which libvirtd takes on every connection, no call about networks has.
func connectSupportsFeature(_ context.Context, c *conn, f *intValue) (intValue, error) {
	if f.n == featureKeepAlive {
		c.startKeepAlive()
		return intValue{1}, nil
	}
	if !c.isOpen() {
		return intValue{}, errNotOpen(DomainRPC)
	}
	switch f.n {
	case featureTypedParamString, featureEventCallback, featureCloseCallback, featureUpdateOrder:
		return intValue{1}, nil
	}
	return intValue{}, nil
}

// errNotOpen is the error of a call that came too early. libvirt says of the
// connection to a driver what it is for.
func errNotOpen(of Domain) error {
	if of == DomainNetwork {
		return rpcErrorf(CodeInternal, "connection not open")
	}
	return rpcErrorf(CodeInternal, "hypervisor connection not open")
}

// connectSetIdentity takes note of for whom a daemon calls. What others than
// root say of themselves is checked for its form and not believed.
func connectSetIdentity(_ context.Context, c *conn, a *identityArgs) (void, error) {
	id, err := parseIdentity(a.params)
	if err != nil || c.peer.UID != 0 {
		return void{}, err
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	c.session.forwarded = id
	return void{}, nil
}

// parseIdentity reads the parameters that libvirt knows (viridentity.h).
func parseIdentity(params []xdr.Param) (*Identity, error) {
	var id Identity
	fields := map[string]any{
		"user-name": &id.UserName, "unix-user-id": &id.UID,
		"group-name": &id.GroupName, "unix-group-id": &id.GID,
		"process-id": &id.ProcessID, "process-time": &id.ProcessTime,
		"sasl-user-name": &id.SASLUserName, "x509-distinguished-name": &id.X509Name,
		"selinux-context": &id.SELinuxContext,
	}
	for _, p := range params {
		field, ok := fields[p.Field]
		if !ok {
			return nil, &Error{Code: CodeArgUnsupported, Detail: "parameter '" + p.Field + "' not supported"}
		}
		var err error
		switch field := field.(type) {
		case **string:
			err = fill(field, p, xdr.ParamString)
		case **uint64:
			err = fill(field, p, xdr.ParamUllong)
		case **int64:
			err = fill(field, p, xdr.ParamLlong)
		}
		if err != nil {
			return nil, err
		}
	}
	return &id, nil
}

func fill[T any](field **T, p xdr.Param, want xdr.ParamType) error {
	v, ok := p.Value.(T)
	switch {
	case !ok:
		return &Error{Code: CodeInvalidArg, Detail: "invalid type '" + p.Type().String() + "' for parameter '" +
			p.Field + "', expected '" + want.String() + "'"}
	case *field != nil:
		return &Error{Code: CodeInvalidArg, Detail: "parameter '" + p.Field + "' occurs multiple times"}
	}
	*field = &v
	return nil
}
