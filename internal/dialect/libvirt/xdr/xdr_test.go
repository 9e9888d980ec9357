package xdr

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// everything has a field of each type that the protocol knows.
type everything struct {
	I      int32
	U      uint32
	H      int64
	UH     uint64
	D      float64
	B      bool
	ID     [16]byte
	Odd    [3]byte
	Opaque []byte
	Text   string
	Maybe  *string
	Inner  *inner
	Names  []Text
	Ints   []Number
	Params []Param
}

type inner struct{ Name string }

func (v *inner) XDR(s *Stream) { s.String(&v.Name) }

const (
	mostOpaque = 64
	mostNames  = 8
	mostParams = 20
)

func (v *everything) XDR(s *Stream) {
	s.Int(&v.I)
	s.Uint(&v.U)
	s.Hyper(&v.H)
	s.Uhyper(&v.UH)
	s.Double(&v.D)
	s.Bool(&v.B)
	s.Fixed(v.ID[:])
	s.Fixed(v.Odd[:])
	s.Opaque(&v.Opaque, mostOpaque)
	s.String(&v.Text)
	s.StringOrNil(&v.Maybe)
	Optional(s, &v.Inner)
	List(s, &v.Names, mostNames)
	List(s, &v.Ints, mostNames)
	List(s, &v.Params, mostParams)
}

// anything draws a value of everything.
func anything(t *rapid.T) *everything {
	text := rapid.StringN(0, 20, 60).Filter(func(s string) bool { return !strings.Contains(s, "\x00") })
	names := rapid.Map(text, func(s string) Text { return Text(s) })
	value := rapid.OneOf(
		rapid.Int32().AsAny(), rapid.Uint32().AsAny(), rapid.Int64().AsAny(), rapid.Uint64().AsAny(),
		rapid.Float64().AsAny(), rapid.Bool().AsAny(), text.AsAny(),
	)
	param := rapid.Custom(func(t *rapid.T) Param { return Param{text.Draw(t, "field"), value.Draw(t, "value")} })
	v := &everything{
		I: rapid.Int32().Draw(t, "I"), U: rapid.Uint32().Draw(t, "U"),
		H: rapid.Int64().Draw(t, "H"), UH: rapid.Uint64().Draw(t, "UH"),
		D: rapid.Float64().Draw(t, "D"), B: rapid.Bool().Draw(t, "B"),
		Opaque: rapid.SliceOfN(rapid.Byte(), 0, mostOpaque).Draw(t, "Opaque"),
		Text:   text.Draw(t, "Text"),
		Names:  rapid.SliceOfN(names, 0, mostNames).Draw(t, "Names"),
		Ints:   rapid.SliceOfN(rapid.Map(rapid.Int32(), func(n int32) Number { return Number(n) }), 0, mostNames).Draw(t, "Ints"),
		Params: rapid.SliceOfN(param, 0, mostParams).Draw(t, "Params"),
	}
	copy(v.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ID"))
	copy(v.Odd[:], rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "Odd"))
	if rapid.Bool().Draw(t, "maybe") {
		s := text.Draw(t, "Maybe")
		v.Maybe, v.Inner = &s, &inner{s}
	}
	return v
}

// normal makes empty what may be nil or empty alike.
func normal(v *everything) *everything {
	c := *v
	if len(c.Opaque) == 0 {
		c.Opaque = nil
	}
	if len(c.Names) == 0 {
		c.Names = nil
	}
	if len(c.Ints) == 0 {
		c.Ints = nil
	}
	if len(c.Params) == 0 {
		c.Params = nil
	}
	return &c
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anything(t)
		data, err := Append(nil, 0, want)
		if err != nil {
			t.Fatal(err)
		}
		if len(data)%4 != 0 {
			t.Fatalf("%d bytes are no multiple of four", len(data))
		}
		var got everything
		if err := Decode(data, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(normal(want), normal(&got)); diff != "" {
			t.Fatal(diff)
		}
		// Every shorter message is refused, and so is every lower limit.
		n := rapid.IntRange(0, len(data)-1).Draw(t, "n")
		if err := Decode(data[:n], new(everything)); !errors.Is(err, ErrShort) {
			t.Fatalf("%d of %d bytes: %v", n, len(data), err)
		}
		if b, err := Append([]byte("keep"), 4+n, want); n > 0 && (!errors.Is(err, ErrSpace) || string(b) != "keep") {
			t.Fatalf("within %d of %d bytes: %v", n, len(data), err)
		}
	})
}

// TestWire compares with the bytes of RFC 4506 and of libvirt's C library.
func TestWire(t *testing.T) {
	s := "foo"
	for _, tc := range []struct {
		name string
		v    Value
		want string
	}{
		{"string with padding", &inner{"hello"}, "00000005 68656c6c 6f000000"},
		{"string without", &inner{"four"}, "00000004 666f7572"},
		{"empty string", &inner{}, "00000000"},
		{"param int", &Param{"a", int32(-1)}, "00000001 61000000 00000001 ffffffff"},
		{"param uint", &Param{"a", uint32(7)}, "00000001 61000000 00000002 00000007"},
		{"param llong", &Param{"a", int64(-2)}, "00000001 61000000 00000003 ffffffff fffffffe"},
		{"param ullong", &Param{"a", uint64(math.MaxUint64)}, "00000001 61000000 00000004 ffffffff ffffffff"},
		{"param double", &Param{"a", 1.5}, "00000001 61000000 00000005 3ff80000 00000000"},
		{"param boolean", &Param{"a", true}, "00000001 61000000 00000006 00000001"},
		{"param string", &Param{"a", s}, "00000001 61000000 00000007 00000003 666f6f00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(tc.want, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Append(nil, 0, tc.v)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%x, %v, want %x", got, err, want)
			}
		})
	}
}

type names struct{ list []Text }

func (v *names) XDR(s *Stream) { List(s, &v.list, 16384) }

type opaque struct{ data []byte }

func (v *opaque) XDR(s *Stream) { s.Opaque(&v.data, mostOpaque) }

func words(u ...uint32) []byte {
	var b []byte
	for _, v := range u {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// TestRefused has what must be refused, and that it costs no memory to speak
// of whatever it announces.
func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		data []byte
		into Value
		want error
	}{
		{"nothing", nil, new(inner), ErrShort},
		{"half a length", []byte{0, 0}, new(inner), ErrShort},
		{"string longer than the message", words(4 << 20), new(inner), ErrShort},
		{"string longer than any", words(4<<20 + 1), new(inner), ErrLong},
		{"string of 4 GiB", words(math.MaxUint32), new(inner), ErrLong},
		{"string without its padding", append(words(1), 'a'), new(inner), ErrShort},
		{"NUL in a string", append(words(4), "a\x00bc"...), new(inner), ErrValue},
		{"opaque data too long", words(mostOpaque + 1), new(opaque), ErrLong},
		{"more elements than any", words(16385), new(names), ErrLong},
		{"more elements than can be there", words(16384, 0, 0), new(names), ErrShort},
		{"an element that ends early", words(2, 0, 9), new(names), ErrShort},
		{"a parameter of no type", words(0, 0, 0), new(Param), ErrValue},
		{"a parameter of a type to come", words(0, 8, 0), new(Param), ErrValue},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := Decode(tc.data, tc.into); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if most := testing.AllocsPerRun(10, func() { _ = Decode(tc.data, tc.into) }); most > 20 {
				t.Errorf("%v allocations", most)
			}
		})
	}
	for _, tc := range []struct {
		name string
		v    Value
		want error
	}{
		{"string longer than any", &inner{strings.Repeat("a", MaxString+1)}, ErrLong},
		{"NUL in a string", &inner{"a\x00"}, ErrValue},
		{"too many elements", &names{make([]Text, 16385)}, ErrLong},
		{"a parameter of no type", &Param{"a", []int{1}}, ErrValue},
	} {
		if b, err := Append(nil, 0, tc.v); !errors.Is(err, tc.want) || b != nil {
			t.Errorf("writing %s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

// FuzzDecode reads anything; what could be read is written and read again.
func FuzzDecode(f *testing.F) {
	s := "x"
	seed, err := Append(nil, 0, &everything{Text: "a", Maybe: &s, Inner: &inner{"b"}, Params: []Param{{"p", true}, {"q", "r"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(words(math.MaxUint32, math.MaxUint32))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v, again everything
		if Decode(data, &v) != nil {
			return
		}
		out, err := Append(nil, 0, &v)
		if err != nil {
			t.Fatalf("was read and cannot be written: %v", err)
		}
		if err := Decode(out, &again); err != nil {
			t.Fatal(err)
		}
		twice, err := Append(nil, 0, &again)
		if err != nil || !bytes.Equal(out, twice) {
			t.Fatalf("%x became %x, %v", out, twice, err)
		}
	})
}
