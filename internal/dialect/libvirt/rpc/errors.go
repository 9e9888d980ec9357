package rpc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// Code is a virErrorNumber: what kind of error it is.
type Code int32

// The codes that are met on a network connection (virterror.h).
const (
	CodeInternal          Code = 1
	CodeNoSupport         Code = 3
	CodeNoConnect         Code = 5
	CodeInvalidArg        Code = 8
	CodeOperationFailed   Code = 9
	CodeXML               Code = 27
	CodeOperationDenied   Code = 29
	CodeXMLDetail         Code = 35
	CodeNetworkExist      Code = 36
	CodeSystem            Code = 38
	CodeRPC               Code = 39
	CodeNoNetwork         Code = 43
	CodeInvalidMAC        Code = 44
	CodeAuthFailed        Code = 45
	CodeOperationInvalid  Code = 55
	CodeConfigUnsupported Code = 67
	CodeTimeout           Code = 68
	CodeArgUnsupported    Code = 74
	CodeNetworkPortExist  Code = 106
	CodeNoNetworkPort     Code = 107
	CodeNoNetworkMetadata Code = 111
)

// Domain is a virErrorDomain: the part of libvirt that an error is from.
type Domain int32

// The domains that are met on a network connection (virterror.h).
const (
	DomainNone    Domain = 0
	DomainXML     Domain = 5
	DomainRPC     Domain = 7
	DomainNetwork Domain = 19
	DomainDomain  Domain = 20
)

// formats are the messages of libvirt by code (virerror.c), with a %s for the
// detail: the words around it are part of the message that is sent. Where
// there are none the detail is the message.
var formats = map[Code]string{
	CodeInternal:          "internal error: %s",
	CodeNoSupport:         "this function is not supported by the connection driver: %s",
	CodeNoConnect:         "no connection driver available for %s",
	CodeInvalidArg:        "invalid argument: %s",
	CodeOperationFailed:   "operation failed: %s",
	CodeXML:               "XML error: %s",
	CodeOperationDenied:   "operation forbidden: %s",
	CodeNetworkExist:      "network %s exists already",
	CodeNoNetwork:         "Network not found: %s",
	CodeInvalidMAC:        "invalid MAC address: %s",
	CodeAuthFailed:        "authentication failed: %s",
	CodeOperationInvalid:  "Requested operation is not valid: %s",
	CodeConfigUnsupported: "unsupported configuration: %s",
	CodeTimeout:           "Timed out during operation: %s",
	CodeArgUnsupported:    "argument unsupported: %s",
	CodeNetworkPortExist:  "network port %s exists already",
	CodeNoNetworkPort:     "network port not found: %s",
	CodeNoNetworkMetadata: "metadata not found: %s",
}

// Error is an error as libvirt's clients see it.
type Error struct {
	Code   Code
	Domain Domain
	// Detail is the message without the words that libvirt puts before it for
	// the code.
	Detail string
	// Format is libvirt's own format of the whole message where it is none of
	// those known by the code, with a %s for Detail; else "".
	Format string
}

// Errorf makes an error of the network driver.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Domain: DomainNetwork, Detail: fmt.Sprintf(format, args...)}
}

// rpcErrorf makes an error of the protocol itself.
func rpcErrorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Domain: DomainRPC, Detail: fmt.Sprintf(format, args...)}
}

// Error is the message that the client shows.
func (e *Error) Error() string { return strings.Replace(e.format(), "%s", e.Detail, 1) }

// format is the message with a %s in the detail's place.
func (e *Error) format() string {
	if e.Format != "" {
		return e.Format
	}
	if f := formats[e.Code]; f != "" {
		return f
	}
	return "%s"
}

// asError makes any error of a handler one of libvirt's.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(CodeInternal, "%s", err)
}

// levelError is VIR_ERR_ERROR: the call has failed.
const levelError = 2

// errorBody is the payload of a failed call (virNetMessageError).
type errorBody struct {
	code, domain     int32
	message          *string
	level            int32
	dom              *wireDomain
	str1, str2, str3 *string
	int1, int2       int32
	net              *Network
}

// wireDomain is remote_nonnull_domain; no error of ours has one.
type wireDomain struct {
	name string
	uuid [16]byte
	id   int32
}

func (d *wireDomain) XDR(s *xdr.Stream) {
	s.String(&d.name)
	s.Fixed(d.uuid[:])
	s.Int(&d.id)
}

// body is the error on the wire. As virReportError does it, str1 is the format
// and str2 the detail, and the numbers are -1.
func (e *Error) body() *errorBody {
	clean := func(s string) *string {
		s = strings.ReplaceAll(s, "\x00", "")
		if len(s) > maxErrorText {
			s = s[:maxErrorText]
		}
		return &s
	}
	return &errorBody{
		code: int32(e.Code), domain: int32(e.Domain), level: levelError,
		message: clean(e.Error()), str1: clean(e.format()), str2: clean(e.Detail), int1: -1, int2: -1,
	}
}

// maxErrorText bounds each string of an error, which may quote its caller.
const maxErrorText = 64 << 10

func (b *errorBody) XDR(s *xdr.Stream) {
	s.Int(&b.code)
	s.Int(&b.domain)
	s.StringOrNil(&b.message)
	s.Int(&b.level)
	xdr.Optional(s, &b.dom)
	s.StringOrNil(&b.str1)
	s.StringOrNil(&b.str2)
	s.StringOrNil(&b.str3)
	s.Int(&b.int1)
	s.Int(&b.int2)
	xdr.Optional(s, &b.net)
}
