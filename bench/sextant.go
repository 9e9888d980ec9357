package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// sextant is the program that this project makes.
type sextant struct {
	host   *host
	binary string
	level  string // of its log
	api    *client.Client
	proc   *process
	dhcp   vnet.DHCPPolicy // of the networks that define makes
}

func (b *bench) newSextant(h *host) (*sextant, error) {
	s := &sextant{host: h, binary: b.binary, level: "info"}
	if b.debug {
		s.level = "debug"
	}
	var err error
	s.api, err = client.New("unix://" + s.path("run/api.sock"))
	return s, err
}

func (s *sextant) name() string { return "sextant" }

func (s *sextant) path(name string) string { return filepath.Join(s.host.dir, name) }

func (s *sextant) start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return until(ctx, time.Minute, 20*time.Millisecond, "sextant status", func(ctx context.Context) error {
		return errors.Join(s.proc.alive(), s.status(ctx))
	})
}

// launch starts the supervisor and with it both processes.
func (s *sextant) launch() (err error) {
	s.proc, err = s.host.start("sextant", s.binary, "serve", "--host=bench", "--no-default-network", "--log-level="+s.level,
		"--state-dir="+s.path("state"), "--run-dir="+s.path("run"))
	return err
}

// status runs `sextant status`.
func (s *sextant) status(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.binary, "status", "--server=unix://"+s.path("run/api.sock"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// define makes the networks one after the other, as one client would.
func (s *sextant) define(ctx context.Context) error {
	for i := range s.host.nets {
		n := &s.host.nets[i]
		mac, err := vnet.ParseMAC(n.gatewayMAC())
		if err != nil {
			return err
		}
		wish := &vnet.Network{
			Meta: vnet.Meta{Name: n.name}, Bridge: n.bridge, MAC: mac, Domain: n.domain,
			IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNAT, Address: n.v4},
			IPv6: vnet.FamilyPolicy{Mode: vnet.EgressNAT66, Address: n.v6},
			DHCP: s.dhcp,
		}
		if _, err := client.Create(ctx, s.api, client.Write{}, wish); err != nil {
			return fmt.Errorf("network %s: %w", n.name, err)
		}
	}
	return nil
}

// running returns an error unless every network's status says running.
func (s *sextant) running(ctx context.Context) error {
	nets, err := s.api.ListRaw(ctx, client.Plural(vnet.KindNetwork), nil)
	if err != nil {
		return err
	}
	good, other := 0, ""
	for _, raw := range nets {
		var n struct {
			Status struct {
				State vnet.State `json:"state"`
			} `json:"status"`
		}
		if err := json.Unmarshal(raw, &n); err != nil {
			return err
		}
		if n.Status.State == vnet.StateRunning {
			good++
		} else {
			other = string(raw)
		}
	}
	if good < len(s.host.nets) {
		return fmt.Errorf("%d of %d networks are running; another one: %.900s", good, len(s.host.nets), other)
	}
	return nil
}
