package xdr

import "fmt"

// ParamType says of which type a parameter's value is
// (virTypedParameterType).
type ParamType int32

// The types of parameters.
const (
	ParamInt ParamType = iota + 1
	ParamUint
	ParamLlong
	ParamUllong
	ParamDouble
	ParamBool
	ParamString
)

// String is the name that libvirt uses in its messages.
func (t ParamType) String() string {
	names := [...]string{"int", "uint", "llong", "ullong", "double", "boolean", "string"}
	if t < ParamInt || t > ParamString {
		return fmt.Sprintf("type %d", int32(t))
	}
	return names[t-1]
}

// Param is a typed parameter, remote_typed_param: a name and a value whose
// type is said beside it.
type Param struct {
	Field string
	Value any // int32, uint32, int64, uint64, float64, bool or string
}

// Type is the type of the value, 0 for one that cannot be sent.
func (p *Param) Type() ParamType {
	switch p.Value.(type) {
	case int32:
		return ParamInt
	case uint32:
		return ParamUint
	case int64:
		return ParamLlong
	case uint64:
		return ParamUllong
	case float64:
		return ParamDouble
	case bool:
		return ParamBool
	case string:
		return ParamString
	}
	return 0
}

// XDR visits the parameter.
func (p *Param) XDR(s *Stream) {
	s.String(&p.Field)
	t := p.Type()
	s.Int((*int32)(&t))
	if s.err != nil {
		return
	}
	switch t {
	case ParamInt:
		visit(s, &p.Value, s.Int)
	case ParamUint:
		visit(s, &p.Value, s.Uint)
	case ParamLlong:
		visit(s, &p.Value, s.Hyper)
	case ParamUllong:
		visit(s, &p.Value, s.Uhyper)
	case ParamDouble:
		visit(s, &p.Value, s.Double)
	case ParamBool:
		visit(s, &p.Value, s.Bool)
	case ParamString:
		visit(s, &p.Value, s.String)
	default:
		s.Fail(fmt.Errorf("a parameter of %v: %w", t, ErrValue))
	}
}

// visit lets f visit what is in the box, which holds a T when the stream
// writes.
func visit[T any](s *Stream, box *any, f func(*T)) {
	v, _ := (*box).(T)
	f(&v)
	if s.err == nil {
		*box = v
	}
}
