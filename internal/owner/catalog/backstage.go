package catalog

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/casement/casement/internal/owner"
)

// Annotations of ours on a Backstage group, and those of Backstage that name a
// component's repository.
const (
	leadAnnotation   = "casement.dev/lead"
	onCallAnnotation = "casement.dev/on-call"
	slugAnnotation   = "github.com/project-slug"
	sourceAnnotation = "backstage.io/source-location"
)

// entity is what we read of a Backstage entity (descriptor format
// backstage.io/v1alpha1); its other fields are not ours to judge.
type entity struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name        string            `yaml:"name"`
		Namespace   string            `yaml:"namespace"`
		Title       string            `yaml:"title"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata"`
	Spec struct {
		Owner    string   `yaml:"owner"`
		System   string   `yaml:"system"`
		Parent   string   `yaml:"parent"`
		Members  []string `yaml:"members"`
		MemberOf []string `yaml:"memberOf"`
		Profile  struct {
			DisplayName string `yaml:"displayName"`
			Email       string `yaml:"email"`
		} `yaml:"profile"`
	} `yaml:"spec"`
}

// isEntity tells a Backstage document from one of ours.
func isEntity(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	v := value(n, "apiVersion")
	return v != nil && strings.HasPrefix(v.Value, "backstage.io/")
}

// readEntities reads the documents of a catalog file. Kinds without owners or
// people are skipped and named in the notes.
func readEntities(f File, docs []*yaml.Node, errs *[]error) (owner.Data, []string) {
	var d owner.Data
	var notes []string
	joins := make(map[string][]string) // members by team, from memberOf
	for _, n := range docs {
		if !isEntity(n) {
			*errs = append(*errs, &Fault{f.Name, n.Line, n.Column, "this document has no apiVersion backstage.io/…, the first one has: keep entities and owners in separate files"})
			continue
		}
		var e entity
		if err := n.Load(&e); err != nil {
			*errs = append(*errs, faults(f.Name, err)...)
			continue
		}
		place := at(f, n)
		if e.Metadata.Name == "" {
			*errs = append(*errs, &Fault{f.Name, n.Line, n.Column, fmt.Sprintf("%s without metadata.name", e.Kind)})
			continue
		}
		id := entityID(e.Metadata.Namespace, e.Metadata.Name)
		switch strings.ToLower(e.Kind) {
		case "user":
			p := owner.Person{ID: id, Name: first(e.Spec.Profile.DisplayName, e.Metadata.Title), Email: e.Spec.Profile.Email, Place: place}
			for i, g := range e.Spec.MemberOf {
				if team := reference(g, e.Metadata.Namespace); i == 0 {
					p.Team = team
				} else {
					joins[team] = append(joins[team], id)
				}
			}
			d.People = append(d.People, p)
		case "group":
			t := owner.Team{ID: id, Name: first(e.Spec.Profile.DisplayName, e.Metadata.Title), Place: place,
				Parent: reference(e.Spec.Parent, e.Metadata.Namespace),
				Lead:   reference(e.Metadata.Annotations[leadAnnotation], e.Metadata.Namespace),
				OnCall: reference(e.Metadata.Annotations[onCallAnnotation], e.Metadata.Namespace)}
			if strings.EqualFold(t.Name, t.ID) {
				t.Name = ""
			}
			for _, m := range e.Spec.Members {
				t.Members = append(t.Members, reference(m, e.Metadata.Namespace))
			}
			d.Teams = append(d.Teams, t)
		case "component", "system":
			c := owner.Component{Name: id, Owner: reference(e.Spec.Owner, e.Metadata.Namespace),
				System: reference(e.Spec.System, e.Metadata.Namespace), Repositories: repositories(e.Metadata.Annotations), Place: place}
			if strings.EqualFold(e.Kind, "system") {
				d.Systems = append(d.Systems, c)
			} else {
				d.Components = append(d.Components, c)
			}
		default:
			notes = append(notes, fmt.Sprintf("%s: kind %s holds no owners for us and is skipped", place, e.Kind))
		}
	}
	for i, t := range d.Teams {
		d.Teams[i].Members = append(t.Members, joins[t.ID]...)
	}
	return d, notes
}

// entityID is the id of an entity: lower case, the namespace only if it is not
// the default one. Backstage compares names without case.
func entityID(namespace, name string) string {
	namespace, name = strings.ToLower(strings.TrimSpace(namespace)), strings.ToLower(strings.TrimSpace(name))
	if namespace == "" || namespace == "default" {
		return name
	}
	return namespace + "." + name
}

// reference is the id that an entity reference [kind:][namespace/]name means,
// written in an entity of a namespace. The kind plays no part: people and teams
// share one space of ids.
func reference(ref, namespace string) string {
	if _, rest, ok := strings.Cut(ref, ":"); ok {
		ref = rest
	}
	if ns, name, ok := strings.Cut(ref, "/"); ok {
		return entityID(ns, name)
	}
	if ref == "" {
		return ""
	}
	return entityID(namespace, ref)
}

// repositories are what the annotations of a component name, as "owner/name".
func repositories(annotations map[string]string) []string {
	var out []string
	if slug := annotations[slugAnnotation]; slug != "" {
		out = append(out, slug)
	}
	// url:https://github.com/acme/shop/tree/main/service
	_, location, _ := strings.Cut(annotations[sourceAnnotation], "://")
	if parts := strings.Split(location, "/"); len(parts) >= 3 {
		slug := parts[1] + "/" + strings.TrimSuffix(parts[2], ".git")
		if len(out) == 0 || !strings.EqualFold(out[0], slug) {
			out = append(out, slug)
		}
	}
	return out
}
