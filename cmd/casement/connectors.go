package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/all"
)

// kindView is a kind of connector as the list shows it.
type kindView struct {
	Kind  string `json:"kind"`
	Title string `json:"title"`
	// Permissions are what tickets or messages need.
	Permissions []string      `json:"permissions,omitempty"`
	Actions     []actionView  `json:"actions"`
	Probes      []probeView   `json:"probes"`
	Params      []settingView `json:"params"`
	Secrets     []settingView `json:"secrets"`
	Example     string        `json:"example"`
}

type actionView struct {
	Verb        string        `json:"verb"`
	Description string        `json:"description"`
	Once        string        `json:"once"`
	Reversible  string        `json:"reversibility"`
	Undoable    bool          `json:"undoable"`
	Probe       string        `json:"probe,omitempty"`
	Continuity  string        `json:"continuity,omitempty"`
	Permissions []string      `json:"permissions"`
	Params      []settingView `json:"params"`
	Example     string        `json:"example"`
}

type probeView struct {
	Verb        string        `json:"verb"`
	Description string        `json:"description"`
	Grade       string        `json:"grade"`
	Proves      string        `json:"proves"`
	Cannot      string        `json:"cannot"`
	Permissions []string      `json:"permissions"`
	Params      []settingView `json:"params"`
}

type settingView struct {
	Name     string `json:"name"`
	Type     string `json:"type,omitempty"`
	Doc      string `json:"doc"`
	Required bool   `json:"required"`
}

func (c *cli) connectorsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connectors [KIND]",
		Short: "List the kinds of connectors: what they do, need and prove",
		Long: `List the kinds of connectors that this program has. With a kind: its actions, with the
least permissions each needs, what a repeat does (once) and whether there is a way back;
its probes, with what each proves and what it can't; its settings; and an example for
casement.yaml. Names of connectors in policy are those of their entries in casement.yaml.`,
		Example: "  casement connectors\n  casement connectors s3\n  casement connectors -o json",
		Args:    atMost(1, "KIND"),
	}
	f := lists(cmd)
	cmd.RunE = c.does(func(_ context.Context, args []string) error {
		kinds := all.Kinds()
		if len(args) == 1 {
			k, ok := all.KindOf(args[0])
			if !ok {
				return failf(codeNotFound, "casement connectors", "there is no connector of kind %q", args[0])
			}
			kinds = []all.Kind{k}
		}
		list := make([]kindView, len(kinds))
		for i, k := range kinds {
			list[i] = viewKind(k)
		}
		return emit(c, f, list, func(list []kindView) {
			if len(args) == 1 {
				c.showKind(list[0])
				return
			}
			tab := newTable("verb", "probe", "grade", "once", "back", "what it does~")
			for _, k := range list {
				for _, a := range k.Actions {
					tab.add(k.Kind+"/"+a.Verb, a.Probe, gradeOf(k, a.Probe), a.Once, a.Reversible, a.Description)
				}
			}
			tab.print(c.term, "")
			c.next("casement connectors KIND")
		})
	})
	return cmd
}

func viewKind(k all.Kind) kindView {
	spec := k.Spec(k.Name)
	out := kindView{Kind: k.Name, Title: k.Title, Permissions: spec.Permissions, Example: k.Example}
	for _, a := range spec.Actions {
		out.Actions = append(out.Actions, actionView{a.Verb, a.Description, string(a.Once), fmt.Sprintf("r%d", a.Reversibility), a.Undoable,
			a.Probe, a.Continuity, a.Permissions, viewParams(a.Params), a.Example})
	}
	for _, p := range spec.Probes {
		out.Probes = append(out.Probes, probeView{p.Verb, p.Description, p.Grade.String(), p.Proves, p.Cannot, p.Permissions, viewParams(p.Params)})
	}
	for _, s := range append(k.Params, all.Shared()...) {
		out.Params = append(out.Params, settingView{s.Name, string(s.Type), s.Doc, s.Required})
	}
	for _, s := range k.Secrets {
		out.Secrets = append(out.Secrets, settingView{s.Name, "", s.Doc, s.Required})
	}
	return out
}

func viewParams(ps []connector.Param) []settingView {
	out := []settingView{}
	for _, p := range ps {
		out = append(out, settingView{p.Name, "", p.Description, p.Required})
	}
	return out
}

func gradeOf(k kindView, probe string) string {
	for _, p := range k.Probes {
		if p.Verb == probe {
			return p.Grade
		}
	}
	return ""
}

func (c *cli) showKind(k kindView) {
	head := func(s string) { fmt.Fprintf(c.out, "\n%s\n", c.term.paint(bold, s)) }
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(c.out, "    %-12s %s\n", name, text)
		}
	}
	settings := func(title string, list []settingView) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintf(c.out, "  %s\n", title)
		tab := newTable("name", "", "what it is~")
		for _, s := range list {
			need := ""
			if s.Required {
				need = "required"
			}
			tab.add(s.Name, need, s.Doc)
		}
		tab.print(c.term, "    ")
	}
	fmt.Fprintf(c.out, "%s  %s\n", c.term.paint(bold, k.Kind), k.Title)
	for _, p := range k.Permissions {
		line("needs", p)
	}
	for _, a := range k.Actions {
		head("action " + k.Kind + "/" + a.Verb)
		fmt.Fprintf(c.out, "  %s.\n", a.Description)
		line("once", onceWords(a.Once))
		line("way back", backWords(a))
		line("proven by", strings.TrimSpace(a.Probe+" "+gradeOf(k, a.Probe)))
		line("watched by", a.Continuity)
		for _, p := range a.Permissions {
			line("needs", p)
		}
		settings("parameters in a playbook", a.Params)
	}
	for _, p := range k.Probes {
		head("probe " + k.Kind + "/" + p.Verb + ", grade " + p.Grade)
		fmt.Fprintf(c.out, "  %s.\n", p.Description)
		line("proves", p.Proves)
		line("can't prove", p.Cannot)
		for _, x := range p.Permissions {
			line("needs", x)
		}
	}
	head("in casement.yaml")
	settings("params", k.Params)
	settings("secrets, as env:NAME, file:PATH or cmd:PROGRAM", k.Secrets)
	fmt.Fprintf(c.out, "\n%s", k.Example)
}

func onceWords(once string) string {
	switch once {
	case "key":
		return "key: the target knows a repeat by its key and acts once"
	case "lookup":
		return "lookup: after a crash the target is asked before anything is done again"
	}
	return "none: a crash may lead to one repeat, which is counted and shown"
}

func backWords(a actionView) string {
	if !a.Undoable {
		return a.Reversible + ", none: never automatic unless opted in by name"
	}
	return a.Reversible + ", undo restores what was there before"
}
