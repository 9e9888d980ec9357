package vnet

import "strings"

// alnum reports whether c is an ASCII letter or digit.
func alnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// only reports whether every byte of s is an ASCII letter, a digit or in more.
func only(s, more string) bool {
	for i := range len(s) {
		if !alnum(s[i]) && strings.IndexByte(more, s[i]) < 0 {
			return false
		}
	}
	return true
}

// CheckName says what is wrong with the name of an object: it has 1 to 63
// characters, letters, digits, '-', '_' and '.', and starts with a letter or
// digit.
func CheckName(field, name string) error {
	const hint = "use 1 to 63 letters, digits, '-', '_' and '.', the first a letter or digit"
	switch {
	case name == "":
		return Invalid(field, "the name is empty").WithHint(hint)
	case len(name) > 63:
		return Invalid(field, "the name %s has %d characters, at most 63 are allowed", quote(name), len(name)).WithHint("choose a shorter one")
	case !alnum(name[0]):
		return Invalid(field, "the name %s does not start with a letter or digit", quote(name)).WithHint(hint)
	case !only(name, "-_."):
		return Invalid(field, "the name %s has a character that names may not have", quote(name)).WithHint(hint)
	}
	return nil
}

// CheckLink says what is wrong with the name of a network device: the kernel
// takes 1 to 15 bytes without '/', ':' and white space, and not "." or "..".
// Beyond that, what would be read as an option, a pattern or a quote by the
// programs that are told the name is refused.
func CheckLink(field, name string) error {
	switch {
	case name == "":
		return Invalid(field, "the name of the device is empty").WithHint("use 1 to 15 letters, digits, '-', '_' and '.'")
	case len(name) > 15:
		return Invalid(field, "%s has %d characters, and Linux allows 15 in the name of a device", quote(name), len(name)).
			WithHint("choose a shorter one, for example %s", shorten(name))
	case name == "." || name == "..":
		return Invalid(field, "%s cannot be the name of a device", quote(name))
	case name == "all" || name == "default" || name == "lo":
		return Invalid(field, "%s means something else to the kernel", quote(name)).WithHint("choose another name")
	case !only(name, "-_.+=@,~#^!") || name[0] == '-':
		return Invalid(field, "%s has a character that the name of a device may not have", quote(name)).
			WithHint("use 1 to 15 letters, digits, '-', '_' and '.'")
	}
	return nil
}

// shorten suggests a device name made of what may stay of name.
func shorten(name string) string {
	var b strings.Builder
	for i := 0; i < len(name) && b.Len() < 15; i++ {
		if alnum(name[i]) || b.Len() > 0 && strings.IndexByte("-_.", name[i]) >= 0 {
			b.WriteByte(name[i])
		}
	}
	if b.Len() == 0 {
		return "br0"
	}
	return b.String()
}

// IsDNSLabel reports whether s is a DNS label of a host (RFC 1123 section 2.1)
// in either case.
func IsDNSLabel(s string) bool {
	return len(s) >= 1 && len(s) <= 63 && only(s, "-") && s[0] != '-' && s[len(s)-1] != '-'
}

// CheckDomain says what is wrong with a DNS domain, which is written without a
// trailing dot. Labels may have underscores, as services have.
func CheckDomain(field, domain string) error {
	const hint = "write it as lab.example.org"
	switch {
	case domain == "":
		return Invalid(field, "the domain is empty").WithHint(hint)
	case len(domain) > 253:
		return Invalid(field, "the domain has %d characters, at most 253 are allowed", len(domain)).WithHint("choose a shorter one")
	case strings.HasSuffix(domain, "."):
		return Invalid(field, "the domain %s ends in a dot", quote(domain)).WithHint("write %s", strings.TrimRight(domain, "."))
	}
	for label := range strings.SplitSeq(domain, ".") {
		switch {
		case label == "":
			return Invalid(field, "the domain %s has an empty label", quote(domain)).WithHint(hint)
		case len(label) > 63:
			return Invalid(field, "the domain %s has a label of %d characters, at most 63 are allowed", quote(domain), len(label)).WithHint("choose a shorter one")
		case !only(label, "-_") || label[0] == '-' || label[len(label)-1] == '-':
			return Invalid(field, "the domain %s has a label that is no DNS name: %s", quote(domain), quote(label)).WithHint(hint)
		}
	}
	return nil
}

// CheckHostname says what is wrong with the DNS name of a guest, one label.
func CheckHostname(field, name string) error {
	if IsDNSLabel(name) {
		return nil
	}
	e := Invalid(field, "%s is no host name", quote(name))
	if label := DNSLabel(name); label != "" {
		return e.WithHint("use letters, digits and '-', for example %s", label)
	}
	return e.WithHint("use 1 to 63 letters, digits and '-'")
}

// CheckMAC says what is wrong with the MAC of a station. Not set is fine.
func CheckMAC(field string, m MAC) error {
	if m.IsZero() || m.IsUnicast() {
		return nil
	}
	one := m
	one[0] &^= 1
	return Invalid(field, "%s is a multicast address, no station can have it", m).
		WithHint("the second hex digit must be even, for example %s", one)
}

// validate checks what every object carries.
func (m *Meta) validate(named bool) error {
	if named || m.Name != "" {
		if err := CheckName("name", m.Name); err != nil {
			return err
		}
	}
	return m.validateTags()
}

// validateTags checks an object's labels.
func (m *Meta) validateTags() error {
	if len(m.Tags) > 64 {
		return Invalid("tags", "%d tags, at most 64 are allowed", len(m.Tags))
	}
	for k, v := range m.Tags {
		if k == "" || len(k) > 128 || len(v) > 1024 || !printable(k) || !printable(v) {
			return Invalid("tags", "the tag %s is not allowed", quote(k+"="+v)).
				WithHint("a key has 1 to 128 bytes, a value at most 1024, both printable")
		}
	}
	return nil
}

// printable reports whether s has no control characters.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) < 0
}

// Validate checks a project.
func (p *Project) Validate() error {
	if err := p.validate(true); err != nil {
		return err
	}
	if len(p.Description) > 1024 || !printable(p.Description) {
		return Invalid("description", "the description is not one printable line of at most 1024 bytes")
	}
	return nil
}

// Validate checks a router.
func (r *Router) Validate() error {
	if err := r.validate(true); err != nil {
		return err
	}
	if r.Number < 0 {
		return Invalid("number", "%d is below 0", r.Number)
	}
	if r.Netns != "" {
		return checkNetns("netns", r.Netns)
	}
	return nil
}

// Validate checks an activation.
func (a *Activation) Validate() error {
	switch {
	case a.Network == "":
		return Invalid("network", "the network is missing")
	case a.Host == "":
		return Invalid("host", "the host is missing")
	}
	return nil
}
