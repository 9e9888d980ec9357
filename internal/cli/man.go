package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// WriteMan writes the manual into dir, a page per noun and one for the rest:
// the hand-written sources (sextant.md, sextant-NOUN.md) with the commands and
// flags of the tree put in behind their description.
func WriteMan(root *cobra.Command, sources, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	pages := map[string]*cobra.Command{"sextant": root}
	for i := range nouns {
		cmd, _, err := root.Find([]string{nouns[i].name})
		if err != nil {
			return err
		}
		pages["sextant-"+nouns[i].name] = cmd
	}
	for name, cmd := range pages {
		src, err := os.ReadFile(filepath.Join(sources, name+".md"))
		if err != nil {
			return err
		}
		page, err := manPage(name, string(src), cmd)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".1"), page, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// heading is a section of a source.
var heading = regexp.MustCompile("(?m)^## .*$")

// manPage puts a page together: title, name, synopsis, what the source says,
// and the commands behind its description.
func manPage(name, src string, cmd *cobra.Command) ([]byte, error) {
	title, rest, ok := strings.Cut(src, "\n")
	if !ok || title != "# "+name {
		return nil, fmt.Errorf("the source of %s must begin with # %s", name, name)
	}
	short, rest, ok := strings.Cut(strings.TrimLeft(rest, "\n"), "\n")
	if !ok {
		return nil, fmt.Errorf("the source of %s lacks its one line", name)
	}
	description, after, ok := strings.Cut(rest, "\n## Keys")
	mark := "\n## Keys"
	if !ok {
		description, after, _ = strings.Cut(rest, "\n## Output")
		mark = "\n## Output"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%% %s 1 \"\" \"Sextant\" \"Sextant manual\"\n\n", strings.ToUpper(name))
	fmt.Fprintf(&b, "# NAME\n\n%s - %s\n\n", name, strings.TrimSuffix(short, "."))
	fmt.Fprintf(&b, "# SYNOPSIS\n\n")
	if cmd.HasParent() {
		fmt.Fprintf(&b, "**%s** *VERB* [*NAME*] [*key*=*value* …] [*flags*]\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(&b, "**sextant** *NOUN* *VERB* [*NAME*] [*key*=*value* …] [*flags*]\n")
	}
	b.WriteString(description)
	manCommands(&b, cmd)
	b.WriteString(mark + after)
	text := heading.ReplaceAllStringFunc(listTables(b.String()), func(s string) string {
		return "# " + strings.ToUpper(strings.TrimPrefix(s, "## "))
	})
	return md2man.Render([]byte(text)), nil
}

// listTables turns the tables of the sources into lists, since a terminal has
// no room for them: a row's first cell is the term, and its last ones what is
// said of it.
func listTables(text string) string {
	var out []string
	var heads []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			heads = nil
			out = append(out, line)
			continue
		}
		row := strings.Split(strings.Trim(line, "|"), "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		switch {
		case heads == nil:
			heads = row
		case strings.HasPrefix(row[0], "---"):
		default:
			out = append(out, listRow(heads, row), "")
		}
	}
	return strings.Join(out, "\n")
}

// listRow is one row: a default behind its key, one meaning as it is, several
// columns each with its heading.
func listRow(heads, row []string) string {
	term, said := "**"+strings.ReplaceAll(row[0], "`", "")+"**", []string{}
	for i := 1; i < len(row) && i < len(heads); i++ {
		switch {
		case row[i] == "":
		case heads[i] == "default":
			term += " (default " + strings.ReplaceAll(row[i], "`", "") + ")"
		case heads[i] == "families":
			term += " (" + row[i] + ")"
		case i == len(heads)-1 && len(said) == 0:
			said = append(said, row[i])
		default:
			said = append(said, heads[i]+": "+row[i]+".")
		}
	}
	return term + "\n: " + strings.Join(said, " ")
}

// manCommands lists the commands below cmd, then their flags.
func manCommands(b *bytes.Buffer, cmd *cobra.Command) {
	b.WriteString("\n## Commands\n\n")
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() || isNoun(c) && !cmd.HasParent() {
			continue
		}
		subs := c.Commands()
		if len(subs) == 0 || c.Runnable() && c.Name() == "completion" {
			manCommand(b, c, flags)
			continue
		}
		for _, sub := range subs {
			if sub.IsAvailableCommand() {
				manCommand(b, sub, flags)
			}
		}
	}
	flags.AddFlagSet(cmd.Root().PersistentFlags())
	b.WriteString("\n## Flags\n\n")
	manFlags(b, flags)
}

// manCommand is one command with its own flags, which are added to all. On the
// page of the whole, where the flags of one command mean nothing to another,
// they are said with the command.
func manCommand(b *bytes.Buffer, c *cobra.Command, all *pflag.FlagSet) {
	path := strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
	_, args, _ := strings.Cut(c.Use, " ")
	line := strings.TrimSpace(path + " " + args)
	said := c.Short + "."
	ofNoun := c.HasParent() && isNoun(c.Parent())
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Hidden || f.Name == "help":
		case ofNoun:
			line += " [" + flagText(f) + "]"
			if all.Lookup(f.Name) == nil {
				all.AddFlag(f)
			}
		default:
			said += fmt.Sprintf("\n: **%s**: %s.", flagText(f), flagUsage(f))
		}
	})
	fmt.Fprintf(b, "**%s**\n: %s\n\n", strings.NewReplacer("[", "\\[", "]", "\\]").Replace(line), said)
}

// flagUsage is what a flag means and its default.
func flagUsage(f *pflag.Flag) string {
	_, usage := pflag.UnquoteUsage(f)
	if !strings.Contains(usage, "default") && f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
		usage += " (default " + f.DefValue + ")"
	}
	return usage
}

// flagText is a flag and what it takes.
func flagText(f *pflag.Flag) string {
	if f.Value.Type() == "bool" {
		return "--" + f.Name
	}
	what, _ := pflag.UnquoteUsage(f)
	return "--" + f.Name + " " + strings.ToUpper(what)
}

func isNoun(c *cobra.Command) bool {
	for i := range nouns {
		if nouns[i].name == c.Name() {
			return true
		}
	}
	return false
}

func manFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := flagText(f)
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, "**%s**\n: %s.\n\n", name, flagUsage(f))
	})
}

// manSourceDir is where the sources are in a checkout.
const manSourceDir = "docs/man"

// manWriter is for the build: it writes the manual.
func (a *app) manWriter() *cobra.Command {
	sources := manSourceDir
	cmd := &cobra.Command{
		Use: "man DIR", Short: "Write the manual", Hidden: true, Args: exactly(1, "a directory"),
		RunE: func(cmd *cobra.Command, args []string) error { return WriteMan(cmd.Root(), sources, args[0]) },
	}
	cmd.Flags().StringVar(&sources, "sources", sources, "where the hand-written parts are")
	return cmd
}
