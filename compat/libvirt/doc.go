// Package libvirt runs the real programs of libvirt: what our dialect says is
// compared with what they say. All of it is tests.
package libvirt
