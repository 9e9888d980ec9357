package xdr

// pointer is a pointer to T that is a Value.
type pointer[T any] interface {
	*T
	Value
}

// List visits an array of at most most elements (RFC 4506 section 4.13).
// Memory is taken for the elements as they are read, so that a count costs
// nothing by itself.
func List[T any, P pointer[T]](s *Stream, list *[]T, most int) {
	if s.writing {
		s.length(len(*list), most)
		for i := range *list {
			if s.err != nil {
				return
			}
			P(&(*list)[i]).XDR(s)
		}
		return
	}
	// No element is shorter than one unit of four bytes.
	n := s.count(most, 4)
	var out []T
	for range n {
		var v T
		P(&v).XDR(s)
		if s.err != nil {
			return
		}
		out = append(out, v)
	}
	if s.err == nil {
		*list = out
	}
}

// Optional visits a value that may be absent (RFC 4506 section 4.19).
func Optional[T any, P pointer[T]](s *Stream, v **T) {
	if present(s, v) {
		P(*v).XDR(s)
	}
}

// present visits the flag of an optional value, and makes the value if it is
// to be read.
func present[T any](s *Stream, v **T) bool {
	is := *v != nil
	s.Bool(&is)
	if s.err != nil {
		return false
	}
	if !s.writing {
		if *v = nil; is {
			*v = new(T)
		}
	}
	return is
}

// Text is a string as an element of a List.
type Text string

// XDR visits the string.
func (t *Text) XDR(s *Stream) { s.String((*string)(t)) }

// Number is an int as an element of a List.
type Number int32

// XDR visits the int.
func (n *Number) XDR(s *Stream) { s.Int((*int32)(n)) }
