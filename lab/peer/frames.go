package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// frames sends whatever somebody may put on a wire: DEV FILE N.
func frames(args []string) error {
	if len(args) != 3 {
		return errors.New("frames: want DEV FILE N")
	}
	link, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	var all [][]byte
	for line := range strings.FieldsSeq(string(text)) {
		b, err := hex.DecodeString(line)
		if err != nil {
			return err
		}
		all = append(all, b)
	}
	// Protocol 0: nothing is received.
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	to := &syscall.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}
	sent := 0
	for range times {
		for _, b := range all {
			copy(to.Addr[:], b)
			if err := syscall.Sendto(fd, b, 0, to); err != nil && !errors.Is(err, syscall.ENOBUFS) {
				return err
			}
			sent++
		}
	}
	fmt.Println(sent, "frames")
	return nil
}
