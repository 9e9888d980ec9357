package attach

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// recordFile is the record's name in the state directory.
const recordFile = "shared.json"

// phase is how far a NIC is.
type phase string

const (
	phaseMoving phase = "moving" // onto the bridge; may be half there
	phaseShared phase = "shared"
	phaseBack   phase = "back" // to the NIC; may be half there
	phaseOver   phase = "over" // an attempt that ended, and why
)

// entry is what must be known of one NIC.
type entry struct {
	Phase  phase    `json:"phase"`
	Bridge string   `json:"bridge"`
	Index  int      `json:"index,omitempty"` // of the NIC
	MAC    vnet.MAC `json:"mac,omitzero"`
	// Until and Clock are the deadline, by the wall clock and by the time since
	// the host was started; zero: confirmed.
	Until time.Time     `json:"until,omitzero"`
	Clock time.Duration `json:"clock,omitempty"`
	Why   string        `json:"why,omitempty"`
	// Settings are the NIC's, as they were; Was what it carried.
	Settings map[string]string `json:"settings,omitempty"`
	Was      *state            `json:"was,omitempty"`
}

// record is what is on disk.
type record struct {
	// Boot is the kernel's boot_id: with a reboot the kernel forgets what it
	// speaks of.
	Boot string            `json:"boot"`
	NICs map[string]*entry `json:"nics,omitempty"`
}

// bootID is the kernel's.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", vnet.Errorf(vnet.ErrHost, "read the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// sinceBoot is the time since the host was started, sleep included: no
// administrator and no time server moves it.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// load reads the record in the directory. Of another boot only what was never
// confirmed is remembered, so that it is not tried again by itself.
func load(dir, boot string) (*record, error) {
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &record{Boot: boot, NICs: map[string]*entry{}}, nil
	}
	var r *record
	if err == nil {
		r, err = readRecord(b, boot)
	}
	if err != nil {
		return nil, vnet.Errorf(vnet.ErrHost, "read which NICs are shared in %s: %w", filepath.Join(dir, recordFile), err).
			WithHint("move the file away; bridges that share a NIC stay as they are")
	}
	return r, nil
}

// readRecord reads what save wrote.
func readRecord(b []byte, boot string) (*record, error) {
	r := &record{Boot: boot}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	if r.NICs == nil {
		r.NICs = map[string]*entry{}
	}
	for nic, e := range r.NICs {
		switch {
		case e == nil:
			delete(r.NICs, nic)
		case r.Boot == boot:
		case e.Phase == phaseOver:
		case e.Until.IsZero():
			delete(r.NICs, nic) // made again, if it is still wished
		default:
			r.NICs[nic] = &entry{Phase: phaseOver, Bridge: e.Bridge, Until: e.Until, Why: "the host was restarted before it was confirmed"}
		}
	}
	r.Boot = boot
	return r, nil
}

// save writes the record so that it is there after a power failure.
func (r *record) save(dir string) error {
	err := func() error {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, recordFile)
		f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(append(b, '\n'))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(d.Sync(), d.Close())
	}()
	if err != nil {
		return vnet.Errorf(vnet.ErrHost, "record what is about to move: %w", err).
			WithHint("make room on, or write access to, the state directory")
	}
	return nil
}
