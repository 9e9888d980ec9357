package xml

import "fmt"

// Code is one of libvirt's error numbers (virErrorNumber).
type Code int

// The numbers that the definitions of networks and ports bring about.
const (
	CodeInternal             Code = 1   // VIR_ERR_INTERNAL_ERROR
	CodeInvalidArg           Code = 8   // VIR_ERR_INVALID_ARG
	CodeNoName               Code = 21  // VIR_ERR_NO_NAME
	CodeXML                  Code = 27  // VIR_ERR_XML_ERROR
	CodeXMLDetail            Code = 35  // VIR_ERR_XML_DETAIL
	CodeSystem               Code = 38  // VIR_ERR_SYSTEM_ERROR
	CodeOperationInvalid     Code = 55  // VIR_ERR_OPERATION_INVALID
	CodeConfigUnsupported    Code = 67  // VIR_ERR_CONFIG_UNSUPPORTED
	CodeOperationUnsupported Code = 84  // VIR_ERR_OPERATION_UNSUPPORTED
	CodeNoMetadata           Code = 111 // VIR_ERR_NO_NETWORK_METADATA
)

// Domain is the part of libvirt that an error is from (virErrorDomain).
type Domain int

// The parts of libvirt that read definitions.
const (
	DomainNone    Domain = 0  // VIR_FROM_NONE
	DomainXML     Domain = 5  // VIR_FROM_XML
	DomainNet     Domain = 11 // VIR_FROM_NET
	DomainNetwork Domain = 19 // VIR_FROM_NETWORK
)

// Error is what libvirt would have answered: clients go by the number and show
// the text, which has the words for the number in front of it already.
type Error struct {
	Code   Code
	Domain Domain
	Text   string
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// prefixes are libvirt's words for a number (virErrorMsgStrings).
var prefixes = map[Code]string{
	CodeInternal:             "internal error: ",
	CodeInvalidArg:           "invalid argument: ",
	CodeXML:                  "XML error: ",
	CodeOperationInvalid:     "Requested operation is not valid: ",
	CodeConfigUnsupported:    "unsupported configuration: ",
	CodeOperationUnsupported: "Operation not supported: ",
	CodeNoMetadata:           "metadata not found: ",
}

// fail makes an error of the network driver's.
func fail(code Code, format string, args ...any) error {
	return failFrom(DomainNetwork, code, format, args...)
}

// failFrom makes an error of another part of libvirt.
func failFrom(d Domain, code Code, format string, args ...any) error {
	return &Error{code, d, prefixes[code] + fmt.Sprintf(format, args...)}
}
