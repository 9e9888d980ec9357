package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// dnsmasq serves both families from one process, and writes its whole lease
// file anew when leases changed.
type dnsmasq struct{ site *site }

func (d *dnsmasq) start(ctx context.Context) error {
	if err := d.site.bridge(ctx); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `port=0
interface=%s
user=root
no-ping
quiet-dhcp
quiet-dhcp6
dhcp-authoritative
dhcp-lease-max=1000000
dhcp-leasefile=%s
dhcp-range=%v,%v,255.252.0.0,12h
dhcp-range=%v,%v,64,12h
`, siteBridge, filepath.Join(d.site.dir, "dnsmasq.leases"), siteRange4[0], siteRange4[1], siteRange6[0], siteRange6[1])
	for i := range d.site.known {
		fmt.Fprintf(&b, "dhcp-host=%s,%v\ndhcp-host=id:%s,[%v]\n", clientMAC(i), known4(i), clientDUID(i), known6(i))
	}
	path := filepath.Join(d.site.dir, "dnsmasq.conf")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return err
	}
	_, err := d.site.start("dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file="+path,
		"--pid-file="+filepath.Join(d.site.dir, "dnsmasq.pid"))
	return err
}
