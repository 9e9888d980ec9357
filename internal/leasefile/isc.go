package leasefile

// iscWords begin the statements of dhcpd.leases and dhcpd6.leases.
var iscWords = map[string]bool{
	"lease": true, "ia-na": true, "ia-ta": true, "ia-pd": true, "server-duid": true, "authoring-byte-order": true,
	"failover": true, "host": true, "group": true, "subgroup": true, "class": true, "subclass": true,
}

func readISC(*lineReader, *book) error { return nil }
