package native

import (
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Verbs is what this dialect needs of control: one method per verb. Errors
// are *vnet.Error; objects that are returned belong to the caller.
type Verbs interface {
	// Create admits, completes and stores o in the project ("" is the default).
	Create(ctx context.Context, who Identity, project string, o vnet.Object) (vnet.Object, error)
	// Update reads the object, lets change edit it and stores it. ifMatch is
	// the revision the caller read, or vnet.AnyRevision.
	Update(ctx context.Context, who Identity, sel Selector, ifMatch int64, change func(vnet.Object) error) (vnet.Object, error)
	// Delete returns the revision at which the object went.
	Delete(ctx context.Context, who Identity, sel Selector, ifMatch int64) (revision int64, err error)
	Get(ctx context.Context, who Identity, sel Selector) (vnet.Object, error)
	List(ctx context.Context, who Identity, q Query) (*Page, error)
	Start(ctx context.Context, who Identity, sel Selector) (vnet.Object, error)
	Stop(ctx context.Context, who Identity, sel Selector) (vnet.Object, error)
	// Plug binds a port to a device and makes it from port if there is none.
	Plug(ctx context.Context, who Identity, sel Selector, port *vnet.Port, b vnet.Binding) (*vnet.Port, error)
	Unplug(ctx context.Context, who Identity, sel Selector) (*vnet.Port, error)
	// ReleaseLease and ImportLeases order something of a host's agent; Ordered
	// says what came of it, or withdraws the order when ctx ends.
	ReleaseLease(ctx context.Context, who Identity, sel Selector) (*vnet.LeaseOrder, error)
	ImportLeases(ctx context.Context, who Identity, project, network string, records []vnet.LeaseRecord) (*vnet.LeaseOrder, error)
	Ordered(ctx context.Context, o *vnet.LeaseOrder) (*OrderResult, error)
	// TryImport says what ImportLeases would come to, and changes nothing.
	TryImport(ctx context.Context, who Identity, project, network string, records []vnet.LeaseRecord) (*OrderResult, error)
	// WatchLeases sends what becomes of leases after the revision (0: from now
	// on), until ctx ends; then the channel is closed.
	WatchLeases(ctx context.Context, who Identity, q Query, after int64) (<-chan LeaseChange, error)
	// History says who had which address when.
	History(ctx context.Context, who Identity, q HistoryQuery) (*HistoryPage, error)
	// SetUplink changes what is wished of a host's link; where nothing was yet,
	// change gets an empty policy. Sharing that is not confirmed in time is
	// taken back; confirm 0 needs no confirmation.
	SetUplink(ctx context.Context, who Identity, host, link string, ifMatch int64, confirm time.Duration, change func(*vnet.UplinkPolicy) error) (*vnet.UplinkPolicy, error)
	// Uplinks lists those of a host ("": of all), or one link ("": all).
	Uplinks(ctx context.Context, who Identity, host, link string) ([]UplinkView, int64, error)
	// Confirm keeps what waits to be confirmed.
	Confirm(ctx context.Context, who Identity) ([]*vnet.UplinkPolicy, error)
	// Wait returns once the host has worked the revision in and the condition
	// holds; host "" is every host that it concerns.
	Wait(ctx context.Context, ref vnet.Ref, revision int64, host string, cond Condition) (*vnet.Status, error)
	// Withdraw takes back a wish whose host action failed.
	Withdraw(ctx context.Context, who Identity, ref vnet.Ref, revision int64) error
	Why(ctx context.Context, who Identity, a netip.Addr) ([]Reason, error)
	Status(ctx context.Context, who Identity) (*Overview, error)
	Prefixes(ctx context.Context, who Identity) ([]PrefixUse, error)
	// Events sends what happened after the revision, and what happens, until
	// ctx ends; then the channel is closed.
	Events(ctx context.Context, who Identity, after int64) (<-chan vnet.Event, error)
	Backup(ctx context.Context, who Identity, w io.Writer) error
	Restore(ctx context.Context, who Identity, r io.Reader) error
	Ask(ctx context.Context, who Identity, q Question) (json.RawMessage, error)
}

// The words of the verbs are control's.
type (
	// Identity is who asks.
	Identity = control.Identity
	// Selector names one object.
	Selector = control.Selector
	// Query selects a page of a list.
	Query = control.Query
	// Page is a part of a list.
	Page = control.Page
	// Condition is what Wait waits for.
	Condition = control.Condition
	// Question is a question for a host's agent.
	Question = control.Question
	// Reason says what one object has to do with an address.
	Reason = control.Reason
	// Overview is the state of everything in short.
	Overview = control.Overview
	// PrefixUse is one prefix in use, and by what.
	PrefixUse = control.PrefixUse
	// UplinkView is an uplink and what is wished of it.
	UplinkView = control.UplinkView
	// OrderResult is what came of an order about leases.
	OrderResult = control.OrderResult
	// LeaseChange is what became of a lease.
	LeaseChange = control.LeaseChange
	// HistoryQuery asks who had which address when, and HistoryPage answers.
	HistoryQuery = control.HistoryQuery
	HistoryPage  = control.HistoryPage
)

var _ Verbs = (*control.Control)(nil)
