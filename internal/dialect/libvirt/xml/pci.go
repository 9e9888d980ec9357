package xml

import "fmt"

// PCI is the address of a device.
type PCI struct{ Domain, Bus, Slot, Function uint32 }

// String is the address as the kernel writes it.
func (a PCI) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", a.Domain, a.Bus, a.Slot, a.Function)
}

func parsePCI(n *node) (a PCI, err error) {
	for _, p := range []struct {
		name string
		to   *uint32
	}{{"domain", &a.Domain}, {"bus", &a.Bus}, {"slot", &a.Slot}, {"function", &a.Function}} {
		if *p.to, _, err = n.uintProp(p.name, 0); err != nil {
			return a, err
		}
	}
	if _, err := n.wordProp("multifunction", "on", "off"); err != nil {
		return a, err
	}
	if a.Domain == 0 && a.Bus == 0 && a.Slot == 0 {
		return a, nil
	}
	switch {
	case a.Bus > 0xff:
		err = failFrom(DomainNone, CodeXML, "Invalid PCI address bus='0x%x', must be <= 0xFF", a.Bus)
	case a.Slot > 0x1f:
		err = failFrom(DomainNone, CodeXML, "Invalid PCI address slot='0x%x', must be <= 0x1F", a.Slot)
	case a.Function > 7:
		err = failFrom(DomainNone, CodeXML, "Invalid PCI address function=0x%x, must be <= 7", a.Function)
	}
	return a, err
}

// attrs are the attributes of <address>.
func (a PCI) attrs() string {
	return fmt.Sprintf(" domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%d'", a.Domain, a.Bus, a.Slot, a.Function)
}
