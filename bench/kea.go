package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// kea is ISC's server of both families, with its leases in a file of its own
// (memfile, which it writes without waiting for the disk) or in PostgreSQL
// (which waits).
type kea struct {
	site     *site
	database *postgres // nil: memfile
}

// start starts both daemons, with two threads each, as many as processors.
func (k *kea) start(ctx context.Context) error {
	if err := k.site.bridge(ctx); err != nil {
		return err
	}
	for _, family := range []int{4, 6} {
		config, err := json.Marshal(map[string]any{fmt.Sprintf("Dhcp%d", family): k.config(family)})
		if err != nil {
			return err
		}
		path := filepath.Join(k.site.dir, fmt.Sprintf("kea%d.json", family))
		if err := os.WriteFile(path, config, 0o600); err != nil {
			return err
		}
		daemon := fmt.Sprintf("kea-dhcp%d", family)
		_, err = k.site.start(daemon, "env", "KEA_PIDFILE_DIR="+k.site.dir, "KEA_LOCKFILE_DIR="+k.site.dir, daemon, "-c", path)
		if err != nil {
			return err
		}
	}
	return nil
}

type object = map[string]any

func (k *kea) config(family int) object {
	c := object{
		"interfaces-config": object{"interfaces": []string{siteBridge}},
		"lease-database":    object{"type": "memfile", "persist": true, "name": filepath.Join(k.site.dir, fmt.Sprintf("kea%d.csv", family)), "lfc-interval": 0},
		"valid-lifetime":    43200,
		"multi-threading":   object{"enable-multi-threading": true, "thread-pool-size": 2, "packet-queue-size": 0},
		"loggers": []object{{"name": fmt.Sprintf("kea-dhcp%d", family), "severity": "ERROR",
			"output_options": []object{{"output": "stderr"}}}},
	}
	if k.database != nil {
		c["lease-database"] = k.database.lease()
	}
	if family == 4 {
		c["interfaces-config"].(object)["dhcp-socket-type"] = "raw"
		c["host-reservation-identifiers"] = []string{"hw-address"}
		subnet := object{"subnet": siteGateway4.Masked().String(), "interface": siteBridge,
			"pools":       []object{{"pool": fmt.Sprintf("%v - %v", siteRange4[0], siteRange4[1])}},
			"option-data": []object{{"name": "routers", "data": siteGateway4.Addr().String()}, {"name": "domain-name-servers", "data": siteGateway4.Addr().String()}}}
		c["subnet4"] = []object{k.reserve(subnet, func(i int) object {
			return object{"hw-address": clientMAC(i), "ip-address": known4(i).String()}
		})}
		return c
	}
	c["server-id"] = object{"type": "EN", "persist": false}
	c["host-reservation-identifiers"] = []string{"duid"}
	subnet := object{"subnet": siteGateway6.Masked().String(), "interface": siteBridge, "rapid-commit": true,
		"pools":       []object{{"pool": fmt.Sprintf("%v - %v", siteRange6[0], siteRange6[1])}},
		"option-data": []object{{"name": "dns-servers", "data": siteGateway6.Addr().String()}}}
	c["subnet6"] = []object{k.reserve(subnet, func(i int) object {
		return object{"duid": clientDUID(i), "ip-addresses": []string{known6(i).String()}}
	})}
	return c
}

// reserve adds the reservations of the known clients to a subnet.
func (k *kea) reserve(subnet object, reservation func(client int) object) object {
	if k.site.known == 0 {
		subnet["reservations-in-subnet"] = false // nothing is looked for
		return subnet
	}
	subnet["reservations-out-of-pool"] = true // nothing is looked for in the pool
	var all []object
	for i := range k.site.known {
		all = append(all, reservation(i))
	}
	subnet["reservations"] = all
	return subnet
}
