package store

import (
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Layout. Below root:
//
//	all/KIND/ID                installation, project, pool, router
//	event/ID                   the ring of events
//	host/H/facts               the host
//	host/H/activation/ID       what is to run there
//	host/H/uplink/ID           what is wished of its uplinks
//	host/H/applied/KIND/ID     what it reports of an object
//	net/N/network              the network itself
//	net/N/KIND/ID              subnet, port, reservation, lease, assignment, order
//
// and, so that the keys above lie in one range that a follower can watch,
// after them in the alphabet what only the store needs:
//
//	past/N/GUEST               history: what a guest of a network had before
//	ref/KIND/ID/KIND/ID        target, source: "source refers to target"
//	scope/S/gen                compare-and-swap of a scope's set of prefixes
//	span/N                     which host gives which part of a network's ranges
//	uniq/NAME                  value: the "kind/id" that holds the unique name
//	where/KIND/ID              value: the key of the object, below root
const root = "/sextant/v1/"

// objectsFrom and objectsTo bound the keys of objects.
const (
	objectsFrom = root + "all/"
	objectsTo   = root + "net0" // '0' follows '/'
)

// objectKey is where o is kept.
func objectKey(o vnet.Object) (string, error) {
	id := string(o.GetMeta().ID)
	kind := string(o.Kind())
	inNetwork := func(n vnet.ID) (string, error) {
		if err := checkSegment("network", string(n)); err != nil {
			return "", err
		}
		return root + "net/" + string(n) + "/" + kind + "/" + id, nil
	}
	if _, isStatus := o.(*vnet.Status); !isStatus {
		if err := checkSegment("id", id); err != nil {
			return "", err
		}
	}
	switch o := o.(type) {
	case *vnet.Subnet:
		return inNetwork(o.Network)
	case *vnet.Port:
		return inNetwork(o.Network)
	case *vnet.Reservation:
		return inNetwork(o.Network)
	case *vnet.Lease:
		return inNetwork(o.Network)
	case *vnet.PrefixAssignment:
		return inNetwork(o.Network)
	case *vnet.LeaseOrder:
		return inNetwork(o.Network)
	case *vnet.Activation:
		if err := checkSegment("host", o.Host); err != nil {
			return "", err
		}
		return root + "host/" + o.Host + "/activation/" + id, nil
	case *vnet.UplinkPolicy:
		if err := checkSegment("host", o.Host); err != nil {
			return "", err
		}
		return root + "host/" + o.Host + "/uplink/" + id, nil
	}
	key, ok := directKey(vnet.RefOf(o))
	if !ok {
		return "", vnet.Invalid("kind", "a %s cannot be stored with the ID %q", kind, id)
	}
	return key, nil
}

// directKey is the key of an object whose reference says all of it; for the
// other kinds the key is in whereKey.
func directKey(r vnet.Ref) (string, bool) {
	id := string(r.ID)
	switch r.Kind {
	case vnet.KindInstallation, vnet.KindProject, vnet.KindPool, vnet.KindRouter:
		return root + "all/" + string(r.Kind) + "/" + id, true
	case vnet.KindEvent:
		return root + "event/" + id, true
	case vnet.KindHost:
		return root + "host/" + id + "/facts", true
	case vnet.KindNetwork:
		return root + "net/" + id + "/network", true
	case vnet.KindHistory:
		network, guest, ok := strings.Cut(id, ".")
		if !ok || checkSegment("network", network) != nil || checkSegment("guest", guest) != nil {
			return "", false
		}
		return pastPrefix(vnet.ID(network)) + guest, true
	case vnet.KindStatus:
		target, host, ok := strings.Cut(id, "@")
		kind, tid, ok2 := strings.Cut(target, "/")
		if !ok || !ok2 || checkSegment("host", host) != nil || checkSegment("id", tid) != nil || checkSegment("kind", kind) != nil {
			return "", false
		}
		return root + "host/" + host + "/applied/" + target, true
	}
	return "", false
}

func whereKey(r vnet.Ref) string { return root + "where/" + string(r.Kind) + "/" + string(r.ID) }

// hasWhere says whether objects of the kind are in the index by ID: those that
// have no directKey, and those that could not be listed without it.
func hasWhere(k vnet.Kind) bool {
	switch k {
	case vnet.KindSubnet, vnet.KindPort, vnet.KindReservation, vnet.KindLease, vnet.KindAssignment, vnet.KindOrder,
		vnet.KindActivation, vnet.KindNetwork, vnet.KindHost, vnet.KindUplink:
		return true
	}
	return false
}

// presenceKey is there as long as the object is.
func presenceKey(r vnet.Ref) string {
	if key, ok := directKey(r); ok {
		return key
	}
	return whereKey(r)
}

func uniqKey(u string) string { return root + "uniq/" + u }

func refPrefix(target vnet.Ref) string { return root + "ref/" + target.String() + "/" }

func refKey(target, source vnet.Ref) string { return refPrefix(target) + source.String() }

func scopeKey(s vnet.Scope) string { return root + "scope/" + string(s) + "/gen" }

// pastPrefix is below which the histories of a network's guests lie.
func pastPrefix(n vnet.ID) string { return root + "past/" + string(n) + "/" }

func spanKey(n vnet.ID) string { return root + "span/" + string(n) }

func networkPrefix(n vnet.ID) string { return root + "net/" + string(n) + "/" }

// parseKey says which object lies at the key.
func parseKey(key string) (vnet.Ref, bool) {
	rest, ok := strings.CutPrefix(key, root)
	if !ok {
		return vnet.Ref{}, false
	}
	p := strings.Split(rest, "/")
	ref := func(kind, id string) (vnet.Ref, bool) { return vnet.Ref{Kind: vnet.Kind(kind), ID: vnet.ID(id)}, true }
	switch {
	case p[0] == "all" && len(p) == 3:
		return ref(p[1], p[2])
	case p[0] == "event" && len(p) == 2:
		return ref("event", p[1])
	case p[0] == "host" && len(p) == 3 && p[2] == "facts":
		return ref("host", p[1])
	case p[0] == "host" && len(p) == 4 && p[2] == "activation":
		return ref("activation", p[3])
	case p[0] == "host" && len(p) == 4 && p[2] == "uplink":
		return ref("uplink", p[3])
	case p[0] == "host" && len(p) == 5 && p[2] == "applied":
		return ref("status", p[3]+"/"+p[4]+"@"+p[1])
	case p[0] == "net" && len(p) == 3 && p[2] == "network":
		return ref("network", p[1])
	case p[0] == "net" && len(p) == 4:
		return ref(p[2], p[3])
	case p[0] == "past" && len(p) == 3:
		return ref("history", p[1]+"."+p[2])
	}
	return vnet.Ref{}, false
}

// parseRef reads the form of vnet.Ref.String.
func parseRef(s string) (vnet.Ref, bool) {
	kind, id, ok := strings.Cut(s, "/")
	return vnet.Ref{Kind: vnet.Kind(kind), ID: vnet.ID(id)}, ok && kind != "" && id != ""
}

// checkSegment refuses what would make one key look like another.
func checkSegment(field, s string) error {
	if s == "" {
		return vnet.Invalid(field, "is empty")
	}
	if len(s) > 255 || strings.ContainsAny(s, "/@\x00") {
		return vnet.Invalid(field, "%q cannot be part of a key", s)
	}
	return nil
}
