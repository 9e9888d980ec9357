package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// radvd advertises routers, and answers solicitations to whoever asked.
type radvd struct{ site *site }

func (r *radvd) start(ctx context.Context) error {
	if err := r.site.bridge(ctx); err != nil {
		return err
	}
	path := filepath.Join(r.site.dir, "radvd.conf")
	config := fmt.Sprintf(`interface %s {
	AdvSendAdvert on;
	AdvRASolicitedUnicast on;
	prefix %v { };
	RDNSS %v { };
	DNSSL lan.internal { };
};
`, siteBridge, siteGateway6.Masked(), siteGateway6.Addr())
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err
	}
	_, err := r.site.start("radvd", "radvd", "--nodaemon", "--logmethod=stderr", "--config="+path,
		"--pidfile="+filepath.Join(r.site.dir, "radvd.pid"))
	return err
}
