package native

import (
	"context"
	"net"
	"net/http"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Group is the Unix group whose members may do everything that root may.
const Group = "sextant"

type peerKey struct{}

// peer is who is at the other end of a Unix socket, as the kernel says.
type peer struct {
	uid uint32
	err error
}

// ConnContext is for http.Server: it asks the kernel who is at the other end
// of a Unix socket (SO_PEERCRED), once per connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return context.WithValue(ctx, peerKey{}, peer{err: err})
	}
	var p peer
	if err := raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, p.err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); p.err == nil {
			p.uid = cred.Uid
		}
	}); err != nil {
		p.err = err
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// identify says who sent the request. Root and the members of Group are
// administrators; nobody else gets in here.
func identify(r *http.Request) (Identity, error) {
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok || p.err != nil {
		return Identity{}, vnet.Errorf(vnet.ErrForbidden, "the caller is unknown").
			WithHint("connect through the Unix socket")
	}
	if p.uid == 0 {
		return Identity{User: "root", Admin: true}, nil
	}
	name := strconv.FormatUint(uint64(p.uid), 10)
	u, err := user.LookupId(name)
	if err == nil {
		name = u.Username
		if inGroup(u) {
			return Identity{User: name, Admin: true}, nil
		}
	}
	return Identity{}, vnet.Errorf(vnet.ErrForbidden, "user %s may not use Sextant", name).
		WithHint("be root, or join the group: usermod -aG %s %s", Group, name)
}

// inGroup asks the user database, not the peer's own list of groups: that
// list is fixed at login, and who has just been put in or thrown out counts.
func inGroup(u *user.User) bool {
	g, err := user.LookupGroup(Group)
	if err != nil {
		return false
	}
	gids, err := u.GroupIds()
	return err == nil && slices.Contains(gids, g.Gid)
}

type identityKey struct{}

// whoFrom returns the identity that the outermost handler found.
func whoFrom(ctx context.Context) Identity {
	who, _ := ctx.Value(identityKey{}).(Identity)
	return who
}
