package tftp

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// longestName bounds a file's name, in bytes.
const longestName = 512

// pathOf turns a request's name into a path below the root. Names are taken
// from the root, whether they begin with a slash or not, and Windows' boot
// programs write backslashes.
func pathOf(name string) (string, *refusal) {
	if len(name) > longestName {
		return "", &refusal{codeAccess, "the name is too long"}
	}
	var parts []string
	for p := range strings.SplitSeq(strings.ReplaceAll(name, `\`, "/"), "/") {
		switch p {
		case "", ".":
		case "..":
			return "", &refusal{codeAccess, "the name leads upwards"}
		default:
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "", &refusal{codeNotFound, "the name is empty"}
	}
	return strings.Join(parts, "/"), nil
}

// checkRoot says why nothing below the root could be served.
func checkRoot(root string) error {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		return errors.Join(err, syscall.ENOTDIR)
	}
	return nil
}

// open opens what a guest may read: a regular file below the root that
// everybody on the host may read. Symbolic links are followed as long as they
// stay below the root (os.Root).
func open(root, name string) (*os.File, int64, *refusal) {
	path, no := pathOf(name)
	if no != nil {
		return nil, 0, no
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, 0, &refusal{codeOther, "the boot files are not there at the moment"}
	}
	defer dir.Close()
	// Looked at before it is opened: to open a device can do something.
	info, err := dir.Stat(path)
	if err != nil {
		return nil, 0, refuse(err)
	}
	if no := readable(info); no != nil {
		return nil, 0, no
	}
	f, err := dir.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, refuse(err)
	}
	if info, err = f.Stat(); err == nil {
		if no = readable(info); no == nil {
			return f, info.Size(), nil
		}
	} else {
		no = refuse(err)
	}
	_ = f.Close()
	return nil, 0, no
}

// readable says why a file is not served; nil if it is.
func readable(info fs.FileInfo) *refusal {
	switch {
	case !info.Mode().IsRegular():
		return &refusal{codeAccess, "it is no regular file"}
	case info.Mode().Perm()&0o004 == 0:
		return &refusal{codeAccess, "the file is not for everybody to read"}
	}
	return nil
}

// refuse turns an error of the file system into one that tells guests nothing
// more of the host.
func refuse(err error) *refusal {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return &refusal{codeNotFound, "there is no such file"}
	}
	return &refusal{codeAccess, "the file cannot be read"}
}

// errChanged means that a file shrank while it was sent.
var errChanged = &refusal{codeOther, "the file changed while it was sent"}

// unreadable is what a client is told when the file cannot be read any more.
func unreadable(err error) error {
	if errors.Is(err, errChanged) {
		return err
	}
	return &refusal{codeOther, "the file cannot be read any more"}
}

// content gives a file's blocks, counted from 1. The slice is valid until the
// next call; last is true for the one that ends the file, which is shorter than
// the others.
type content interface {
	block(n uint64) (data []byte, last bool, err error)
}

// contentOf returns a file's blocks of a size.
func contentOf(f *os.File, size int64, ascii bool, block int) content {
	if ascii {
		return &asciiFile{in: bufio.NewReader(f), buf: make([]byte, block)}
	}
	return &octetFile{f, size, make([]byte, block)}
}

// octetFile reads blocks where they are in the file: nothing is kept, however
// long the window.
type octetFile struct {
	f    io.ReaderAt
	size int64
	buf  []byte // one block
}

func (c *octetFile) block(n uint64) ([]byte, bool, error) {
	at := int64(n-1) * int64(len(c.buf))
	want := min(int64(len(c.buf)), c.size-at)
	if want < 0 {
		return nil, false, errChanged
	}
	got, err := c.f.ReadAt(c.buf[:want], at)
	if int64(got) < want {
		if err == nil || errors.Is(err, io.EOF) {
			err = errChanged
		}
		return nil, false, err
	}
	return c.buf[:want], want < int64(len(c.buf)), nil
}

// asciiFile translates to netascii (RFC 764: line ends are CR LF, a bare CR is
// CR NUL). Where a block begins in the file is not known, so it keeps the block
// that it read last, and can only repeat that one: the window is 1.
type asciiFile struct {
	in   *bufio.Reader
	buf  []byte // one block
	n    uint64 // its number
	last bool
	len  int
	rest byte // the second byte of a pair that began in the last block
	pair bool
}

func (c *asciiFile) block(n uint64) ([]byte, bool, error) {
	if n == c.n {
		return c.buf[:c.len], c.last, nil
	}
	if n != c.n+1 || c.last {
		return nil, false, errChanged
	}
	c.n, c.len = n, 0
	for c.len < len(c.buf) {
		if c.pair {
			c.put(c.rest)
			c.pair = false
			continue
		}
		b, err := c.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			c.last = true
			return c.buf[:c.len], true, nil
		case err != nil:
			return nil, false, err
		case b == '\n':
			c.put('\r')
			c.rest, c.pair = '\n', true
		case b == '\r':
			c.put('\r')
			c.rest, c.pair = 0, true
		default:
			c.put(b)
		}
	}
	return c.buf[:c.len], false, nil
}

func (c *asciiFile) put(b byte) {
	c.buf[c.len] = b
	c.len++
}
