// Command peer is the other end of the lab's conversations.
//
//	peer serve ADDR:PORT…   tell everybody who connects where they come from
//	peer echo ADDR:PORT…    send back every line
//	peer hold ADDR:PORT     talk to an echo on one connection until SIGTERM;
//	                        fail if it breaks or an answer takes long
//	peer frames DEV FILE N  send the frames of the file, one a line in
//	                        hexadecimal, N times over
//	peer delegate DEV PREFIX PREFERRED VALID
//	                        be a DHCPv6 server that delegates that, right or not
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: peer serve|echo ADDR:PORT…, peer hold ADDR:PORT, peer frames DEV FILE N or peer delegate DEV PREFIX PREFERRED VALID")
		os.Exit(64)
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2:], tell)
	case "echo":
		err = serve(os.Args[2:], echo)
	case "hold":
		err = hold(os.Args[2])
	case "frames":
		err = frames(os.Args[2:])
	case "delegate":
		err = delegate(os.Args[2:])
	default:
		err = fmt.Errorf("no such role: %s", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// serve answers on every address until one of the listeners fails.
func serve(addrs []string, answer func(net.Conn)) error {
	failed := make(chan error)
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return err
		}
		go func() { failed <- accept(l, answer) }()
	}
	return <-failed
}

func accept(l net.Listener, answer func(net.Conn)) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			answer(c)
		}()
	}
}

// tell says which address the caller comes from.
func tell(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err == nil {
		fmt.Fprintln(c, host)
	}
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// answerTime is longer than any pause a guest's connection may see.
const answerTime = 15 * time.Second

// hold keeps one connection busy.
func hold(addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := net.DialTimeout("tcp", addr, answerTime)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(c, "line %d\n", i); err != nil {
			return err
		}
		if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("line %d\n", i) {
			return fmt.Errorf("answer %q: %w", line, err)
		}
		if i == 0 {
			fmt.Println("connected")
		}
		select {
		case <-ctx.Done():
			fmt.Println(i+1, "answers on one connection")
			return nil
		case <-tick.C:
		}
	}
}
