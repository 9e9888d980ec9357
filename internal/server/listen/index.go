package listen

import "golang.org/x/sys/unix"

// IndexOf returns the index of a link in the namespace of a socket, or an
// error of unix.ENODEV.
func IndexOf(fd int, link string) (int, error) {
	ifr, err := unix.NewIfreq(link)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, err
	}
	return int(ifr.Uint32()), nil
}
