package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sextant-net/sextant/internal/vnet"
)

// journal is a file of what this host gave to guests and the store may not know
// yet. An entry is on the disk when append has returned.
//
// The file begins with journalMagic and a number, its epoch. An entry is its
// length, a checksum over the epoch and the entry, and the entry (entry.go), whose
// first letter is its kind and version. The first entry whose checksum is wrong is the end: it was never
// acknowledged, or is of an epoch before. The file is written with zeros ahead,
// so that most entries change no metadata of it.
type journal struct {
	path  string
	file  *os.File
	epoch uint64
	end   int64  // where the next entry goes
	room  int64  // up to where there are zeros
	buf   []byte // what the next write writes
	base  int64  // what of it was written at once, when it was begun
	full  bool   // rather a new file than another entry
}

const (
	journalMagic  = "sxclaim1"
	journalHead   = int64(len(journalMagic) + 8)
	journalAhead  = 1 << 20
	journalMost   = 32 << 20 // at which the file is written anew, at the earliest
	journalLeases = 1 << 20  // bytes of an entry, at most
)

// journalZeros are what is written ahead, at a time.
var journalZeros [64 << 10]byte

var journalSums = crc32.MakeTable(crc32.Castagnoli)

// openJournal opens or makes the file and returns what it says was given and
// not given back.
func openJournal(path string) (*journal, map[leaseKey]vnet.Lease, error) {
	j := &journal{path: path}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("journal of claims: %w", err)
	}
	given := map[leaseKey]vnet.Lease{}
	j.epoch = readJournal(data, given)
	// What was there is written anew: the tail may be half an entry.
	entries := make([][]byte, 0, len(given))
	for _, l := range given {
		entry, err := appendGiven(nil, &l)
		if err != nil {
			return nil, nil, fmt.Errorf("journal of claims: %w", err)
		}
		entries = append(entries, entry)
	}
	if err := j.rewrite(entries); err != nil {
		return nil, nil, fmt.Errorf("journal of claims: %w", err)
	}
	return j, given, nil
}

// readJournal collects what was given and not given back, and returns the
// epoch. Whatever is no journal is an empty one.
func readJournal(data []byte, given map[leaseKey]vnet.Lease) (epoch uint64) {
	if int64(len(data)) < journalHead || string(data[:len(journalMagic)]) != journalMagic {
		return 0
	}
	epoch = binary.BigEndian.Uint64(data[len(journalMagic):])
	for data = data[journalHead:]; len(data) >= 8; {
		size, sum := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
		if size == 0 || size > journalLeases || int(size) > len(data)-8 {
			break
		}
		entry := data[8 : 8+size]
		if sum != entrySum(epoch, entry) {
			break
		}
		readEntry(entry, given)
		data = data[8+size:]
	}
	return epoch
}

func entrySum(epoch uint64, entry []byte) uint32 {
	var e [8]byte
	binary.BigEndian.PutUint64(e[:], epoch)
	return crc32.Update(crc32.Checksum(e[:], journalSums), journalSums, entry)
}

// give prepares the entry of a lease for the next write, and returns it.
func (j *journal) give(l *vnet.Lease) (entry []byte, err error) {
	at := j.begin()
	if j.buf, err = appendGiven(j.buf, l); err != nil {
		return nil, err
	}
	return bytes.Clone(j.buf[at+8:]), j.seal(at)
}

// again prepares an entry as it was written before.
func (j *journal) again(entry []byte) error {
	at := j.begin()
	j.buf = append(j.buf, entry...)
	return j.seal(at)
}

// forget prepares the entry of an address that was given back for the next write.
func (j *journal) forget(e ending) error {
	at := j.begin()
	j.buf = appendEnded(j.buf, e)
	return j.seal(at)
}

// begin leaves room for an entry's length and checksum, and returns where.
func (j *journal) begin() (at int) {
	at = len(j.buf)
	j.buf = append(j.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	return at
}

// seal fills in the length and the checksum of the entry that was begun there.
func (j *journal) seal(at int) error {
	entry := j.buf[at:]
	if len(entry)-8 > journalLeases {
		return errors.New("too long for the journal of claims")
	}
	binary.BigEndian.PutUint32(entry, uint32(len(entry)-8))
	binary.BigEndian.PutUint32(entry[4:], entrySum(j.epoch, entry[8:]))
	return nil
}

// write makes what was added durable. After an error the journal must not be
// used: the kernel may have forgotten what did not reach the disk.
func (j *journal) write() error {
	if len(j.buf) == 0 {
		return nil
	}
	defer func() {
		if j.buf = j.buf[:0]; cap(j.buf) > journalAhead { // of a rewrite
			j.buf = nil
		}
	}()
	n := int64(len(j.buf))
	if j.end+n > j.room {
		if err := j.extend(j.end + n); err != nil {
			return err
		}
	}
	if _, err := j.file.WriteAt(j.buf, j.end); err != nil {
		return err
	}
	if err := syscall.Fdatasync(int(j.file.Fd())); err != nil {
		return os.NewSyscallError("fdatasync", err)
	}
	j.end += n
	j.full = j.end > max(journalMost, 4*j.base)
	return nil
}

// extend writes zeros ahead.
func (j *journal) extend(to int64) error {
	to = (to/journalAhead + 1) * journalAhead
	for j.room < to {
		n, err := j.file.WriteAt(journalZeros[:min(to-j.room, int64(len(journalZeros)))], j.room)
		if j.room += int64(n); err != nil {
			return err
		}
	}
	return nil
}

// rewind forgets everything: the store has it all.
func (j *journal) rewind() error {
	if j.end == journalHead {
		return nil
	}
	j.epoch++
	j.end, j.base, j.full = journalHead, 0, false
	_, err := j.file.WriteAt(j.head(), 0)
	return err
}

func (j *journal) head() []byte {
	return binary.BigEndian.AppendUint64([]byte(journalMagic), j.epoch)
}

// rewrite puts a new file with only what is given now in the place of the old
// one.
func (j *journal) rewrite(given [][]byte) error {
	j.epoch++
	fresh, err := os.OpenFile(j.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	j.buf = nil
	for _, entry := range given {
		if err := j.again(entry); err != nil {
			return errors.Join(err, fresh.Close())
		}
	}
	old := j.file
	j.file, j.end, j.room = fresh, journalHead, journalHead
	_, err = fresh.WriteAt(j.head(), 0)
	err = errors.Join(err, j.extend(journalHead+int64(len(j.buf))), j.write(), fresh.Sync())
	if err == nil {
		err = errors.Join(os.Rename(j.path+".new", j.path), syncDir(filepath.Dir(j.path)))
	}
	if old != nil {
		err = errors.Join(err, old.Close())
	}
	j.base, j.full = j.end, false
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (j *journal) close() error { return j.file.Close() }
