package dhcp

import "github.com/sextant-net/sextant/internal/vnet"

// Architectures that are asked for in two ways: byte code was what x64 had
// for its number in the first prints of RFC 4578.
const archByteCode, archX64 = 9, 7

// BootFile returns what a client boots, or nil: what is for iPXE if it is that,
// else what is for its architecture, in its order, else what is for any.
func BootFile(files []vnet.BootFile, ipxe bool, arches []int) *vnet.BootFile {
	find := func(is func(f *vnet.BootFile) bool) *vnet.BootFile {
		for i := range files {
			if is(&files[i]) {
				return &files[i]
			}
		}
		return nil
	}
	if ipxe {
		if f := find(func(f *vnet.BootFile) bool { return f.Client == "ipxe" }); f != nil {
			return f
		}
	}
	for _, arch := range arches {
		f := find(func(f *vnet.BootFile) bool { return f.Arch() == arch })
		if f == nil && arch == archByteCode {
			f = find(func(f *vnet.BootFile) bool { return f.Arch() == archX64 })
		}
		if f != nil {
			return f
		}
	}
	return find(func(f *vnet.BootFile) bool { return f.Client == "any" })
}
