// Command peer is the other end of the lab's conversations. As a server it
// tells everybody who connects which address it sees them come from.
//
//	peer serve ADDR:PORT…
package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 3 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, "usage: peer serve ADDR:PORT…")
		os.Exit(64)
	}
	if err := serve(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// serve answers on every address until one of the listeners fails.
func serve(addrs []string) error {
	failed := make(chan error)
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return err
		}
		go func() { failed <- accept(l) }()
	}
	return <-failed
}

func accept(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			host, _, err := net.SplitHostPort(c.RemoteAddr().String())
			if err == nil {
				fmt.Fprintln(c, host)
			}
		}()
	}
}
