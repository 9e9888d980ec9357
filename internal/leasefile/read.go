package leasefile

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// MaxLine is the longest line, in bytes, that is read; a longer one is
	// skipped and reported.
	MaxLine = 16 << 10
	// MaxRecords is how many addresses one file may have.
	MaxRecords = 1 << 20
	// MaxSkipped is how many faults are told; of the others only the number.
	MaxSkipped = 20
	// detectSize is how far into a file Read looks for what tells its format.
	detectSize = 64 << 10
)

// Read reads a lease file. The zero Format is found out from the content. It
// fails if the format is unknown, if the file has more than MaxRecords
// addresses, or if r fails; then nothing is returned.
func Read(r io.Reader, format Format) (*File, error) {
	in := bufio.NewReaderSize(r, detectSize)
	if format == "" {
		head, err := in.Peek(detectSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if format = Detect(head); format == "" {
			return nil, vnet.Invalid("format", "the file is no lease file of a kind that is known").
				WithHint("say whose it is: dnsmasq, isc or kea")
		}
	}
	b := &book{found: map[key]Record{}}
	lines := &lineReader{in: in, bad: b.skip}
	var err error
	switch format {
	case Dnsmasq:
		err = readDnsmasq(lines, b)
	case ISC:
		err = readISC(lines, b)
	case Kea:
		err = readKea(lines, b)
	default:
		return nil, vnet.Invalid("format", "%.40q is no format of lease files", string(format)).WithHint("say auto, dnsmasq, isc or kea")
	}
	if err != nil {
		return nil, err
	}
	return b.file(format), nil
}

// Detect tells the format from the beginning of a file, "" if it is none that
// is known. An empty file is none.
func Detect(head []byte) Format {
	for line := range bytes.Lines(head) {
		s := strings.TrimSpace(strings.TrimPrefix(string(line), "\ufeff"))
		if s == "" || s[0] == '#' {
			continue
		}
		if strings.HasPrefix(s, "address,") {
			return Kea
		}
		first, rest, _ := strings.Cut(s, " ")
		switch {
		case first == "duid" && rest != "", first == "vendorclass", looksLikeDnsmasq(strings.Fields(s)):
			return Dnsmasq
		case iscWords[strings.TrimRight(first, ";{")]:
			return ISC
		}
		return ""
	}
	return ""
}

// key is what a file has one last word on.
type key struct {
	address netip.Addr
	length  int
}

// book collects a file's last words.
type book struct {
	found   map[key]Record
	skipped []LineError
	more    int
}

// put notes that the record is the last word on its address, for now.
func (b *book) put(r Record) error {
	k := key{r.Address, r.Length}
	if _, known := b.found[k]; !known && len(b.found) >= MaxRecords {
		return vnet.Invalid("", "the file has more than %d addresses", MaxRecords).WithHint("split it by network")
	}
	b.found[k] = r
	return nil
}

// remove notes that nobody has the address or prefix now.
func (b *book) remove(address netip.Addr, length int) { delete(b.found, key{address, length}) }

// skip reports what could not be read.
func (b *book) skip(line int, err error) {
	if len(b.skipped) >= MaxSkipped {
		b.more++
		return
	}
	b.skipped = append(b.skipped, LineError{line, err})
}

func (b *book) file(format Format) *File {
	f := &File{Format: format, Skipped: b.skipped, SkippedMore: b.more}
	f.Records = make([]Record, 0, len(b.found))
	for _, r := range b.found {
		f.Records = append(f.Records, r)
	}
	slices.SortFunc(f.Records, func(x, y Record) int {
		return cmp.Or(x.Address.Compare(y.Address), cmp.Compare(x.Length, y.Length))
	})
	return f
}

// lineReader gives lines of bounded length.
type lineReader struct {
	in   *bufio.Reader
	n    int // of the line that was given last, from 1
	bad  func(line int, err error)
	done bool
}

// next returns the next line without its end, io.EOF after the last one. Lines
// that are too long are reported and passed over.
func (l *lineReader) next() (string, error) {
	for {
		if l.done {
			return "", io.EOF
		}
		line, err := l.one()
		if err != nil || line != nil {
			return strings.TrimSuffix(string(line), "\r"), err
		}
		l.bad(l.n, vnet.Invalid("", "the line has more than %d bytes", MaxLine))
	}
}

// one reads one line; nil for one that is too long.
func (l *lineReader) one() ([]byte, error) {
	out, long := []byte{}, false
	l.n++
	for {
		part, err := l.in.ReadSlice('\n')
		if long = long || len(out)+len(part) > MaxLine+1; !long {
			out = append(out, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			l.done = true
			if len(out) == 0 && !long {
				return nil, io.EOF
			}
		case err != nil:
			return nil, err
		}
		if long {
			return nil, nil
		}
		return bytes.TrimSuffix(out, []byte("\n")), nil
	}
}
