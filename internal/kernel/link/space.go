package link

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// makeNetns makes the namespace. One of that name that is there already, left
// by an earlier run, is taken over: the name is our mark.
func (l *Links) makeNetns(i plan.Netns) error {
	// Recorded first: what a kill leaves is then known to be ours.
	if err := l.record.addNetns(i.Name); err != nil {
		return err
	}
	if l.spaces.Exists(i.Name) {
		return nil
	}
	return l.spaces.Create(i.Name)
}

// deleteNetns removes a namespace that was made on this host by us.
func (l *Links) deleteNetns(i plan.Netns) error {
	if !l.record.hasNetns(i.Name) {
		return nil
	}
	if err := l.spaces.Delete(i.Name); err != nil {
		return err
	}
	return l.record.dropNetns(i.Name)
}

// isNoDevice reports whether the kernel said that the link is gone.
func isNoDevice(err error) bool { return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) }

// gone reports whether the error says that a namespace is no more, and with
// it everything inside.
func gone(err error) bool { return vnet.Is(err, vnet.ErrNotFound) }
