// Package owner answers whose a finding is, who approves a change to it, and
// who is next when they do not answer.
//
// It is pure: a directory and a question in, an assignment out. It may import
// the lower floors and the CODEOWNERS matcher (no os, net, context, sync, log,
// rand, goroutines or time.Now). Invariants: the same directory and question
// give the same assignment; somebody always owns (the fallback team at last);
// nobody who is away or has left is owner or approver; requester and last
// modifier never approve; every source that did not answer says why.
package owner

import (
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// Data is a directory as written in files or read from a catalog. People and
// teams share one space of ids.
type Data struct {
	People     []Person    `json:"people,omitempty" yaml:"people"`
	Teams      []Team      `json:"teams,omitempty" yaml:"teams"`
	Components []Component `json:"components,omitempty" yaml:"components"`
	// Systems own the components that name no owner of their own.
	Systems []Component `json:"systems,omitempty" yaml:"systems"`
	// Repositories hold the text of CODEOWNERS by repository, "owner/name".
	Repositories map[string]string `json:"repositories,omitempty" yaml:"repositories"`
	// Accounts give an owner to an account, project, subscription or namespace;
	// "account/namespace" is more exact than either alone.
	Accounts map[string]string `json:"accounts,omitempty" yaml:"accounts"`
	// Overrides come before every other source; the first match decides.
	Overrides []Override `json:"overrides,omitempty" yaml:"overrides"`
	// Aliases lead from an old or other name to an id or another alias: a team
	// that was renamed or merged, a login, a cost centre.
	Aliases map[string]string `json:"aliases,omitempty" yaml:"aliases"`
	// Fallback is the team of what nobody owns; DefaultFallback if empty.
	Fallback string `json:"fallback,omitempty" yaml:"fallback"`
	// OperationsLead is the person at the end of every escalation.
	OperationsLead string       `json:"operations_lead,omitempty" yaml:"operations_lead"`
	Delegations    []Delegation `json:"delegations,omitempty" yaml:"delegations"`
}

// DefaultFallback is the team that owns what nobody owns when a directory names
// none.
const DefaultFallback = "operations"

// Person is one human.
type Person struct {
	// ID is the principal id.
	ID    string `json:"id" yaml:"id"`
	Name  string `json:"name,omitempty" yaml:"name"`
	Email string `json:"email,omitempty" yaml:"email"`
	// Logins are the names this person has elsewhere, e.g. a GitHub user.
	Logins  []string `json:"logins,omitempty" yaml:"logins"`
	Team    string   `json:"team,omitempty" yaml:"team"`
	Manager string   `json:"manager,omitempty" yaml:"manager"`
	Away    []Window `json:"away,omitempty" yaml:"away"`
	// Left is true for somebody who no longer works here. Keep the entry: team
	// and manager say who inherits.
	Left bool `json:"left,omitempty" yaml:"left"`
	// Place is where the entry was read, "file:line:column", for messages.
	Place string `json:"-" yaml:"-"`
}

// Team is a group of people.
type Team struct {
	ID   string `json:"id" yaml:"id"`
	Name string `json:"name,omitempty" yaml:"name"`
	// Members in the order in which they stand in for each other. People whose
	// Team is this one are added after them.
	Members []string `json:"members,omitempty" yaml:"members"`
	Lead    string   `json:"lead,omitempty" yaml:"lead"`
	Parent  string   `json:"parent,omitempty" yaml:"parent"`
	OnCall  string   `json:"on_call,omitempty" yaml:"on_call"`
	Place   string   `json:"-" yaml:"-"`
}

// Component is an application or service of the catalog, or a system.
type Component struct {
	Name  string `json:"name" yaml:"name"`
	Owner string `json:"owner,omitempty" yaml:"owner"`
	// System owns the component if it names no owner.
	System string `json:"system,omitempty" yaml:"system"`
	// Repositories as "owner/name".
	Repositories []string `json:"repositories,omitempty" yaml:"repositories"`
	// Assets are ids or patterns of them, with * for any text.
	Assets []string `json:"assets,omitempty" yaml:"assets"`
	Place  string   `json:"-" yaml:"-"`
}

// Override gives matching findings an owner whatever else says. Every field
// that is set must match; * stands for any text.
type Override struct {
	Asset       string `json:"asset,omitempty" yaml:"asset"`
	App         string `json:"app,omitempty" yaml:"app"`
	Account     string `json:"account,omitempty" yaml:"account"`
	Repository  string `json:"repository,omitempty" yaml:"repository"`
	Environment string `json:"environment,omitempty" yaml:"environment"`
	Class       string `json:"class,omitempty" yaml:"class"`
	Owner       string `json:"owner" yaml:"owner"`
	// Until ends the override; zero is for good.
	Until  time.Time `json:"until,omitzero" yaml:"until"`
	Reason string    `json:"reason,omitempty" yaml:"reason"`
	Place  string    `json:"-" yaml:"-"`
}

// Delegation lets To approve in From's stead for a time. It never chains: who
// holds one cannot pass it on.
type Delegation struct {
	From   string    `json:"from" yaml:"from"`
	To     string    `json:"to" yaml:"to"`
	Start  time.Time `json:"start" yaml:"start"`
	Until  time.Time `json:"until" yaml:"until"`
	Reason string    `json:"reason" yaml:"reason"`
	Place  string    `json:"-" yaml:"-"`
}

// Window is a half-open span of time, UTC.
type Window struct {
	From  time.Time `json:"from" yaml:"from"`
	Until time.Time `json:"until" yaml:"until"`
}

// Holds tells whether the window holds at an instant.
func (w Window) Holds(at time.Time) bool { return !at.Before(w.From) && at.Before(w.Until) }

// Question is what is asked of the directory.
type Question struct {
	Finding finding.Finding
	// At is the instant at which people must be there.
	At time.Time
	// LastModifier is who changed the asset last, as the target system names
	// them; "" if unknown.
	LastModifier string
	// Requester is who asks for the change, "" for policy.
	Requester string
}

// Source is a rule of ownership.
type Source string

// The sources in order of precedence.
const (
	FromOverride   Source = "override"
	FromTag        Source = "tag"
	FromCodeowners Source = "codeowners"
	FromCatalog    Source = "catalog"
	FromHint       Source = "hint"
	FromAccount    Source = "account"
	FromFallback   Source = "fallback"
)

// Assignment is the answer. Ids are of people or teams; Approvers, Backup,
// Manager and OpsLead are people, "" if there is nobody.
type Assignment struct {
	// Owner is accountable: the named person or team, or who stands in.
	Owner string `json:"owner"`
	// Named is who the source named, when somebody else stands in.
	Named string `json:"named,omitempty"`
	// Approver is the first of Approvers, all of whom may approve, best first.
	Approver  string   `json:"approver,omitempty"`
	Approvers []string `json:"approvers,omitempty"`
	// Backup is asked when the approver does not answer.
	Backup  string `json:"backup,omitempty"`
	Manager string `json:"manager,omitempty"`
	OpsLead string `json:"ops_lead,omitempty"`
	Source  Source `json:"source"`
	// Confidence is 0..100; 0 is the fallback.
	Confidence int    `json:"confidence"`
	Chain      []Step `json:"chain"`
	// Gaps are what somebody should mend in the directory or at the asset.
	Gaps []string `json:"gaps,omitempty"`
}

// Step is one source that was asked.
type Step struct {
	Source   Source `json:"source"`
	Value    string `json:"value,omitempty"`
	Answered bool   `json:"answered"`
	Why      string `json:"why"`
}

// Known tells whether a source other than the fallback answered.
func (a Assignment) Known() bool { return a.Source != FromFallback }

// Routing is the assignment in the form a case keeps.
func (a Assignment) Routing() remedy.Routing {
	return remedy.Routing{Owner: a.Owner, Approvers: a.Approvers, Backup: a.Backup, Manager: a.Manager, OpsLead: a.OpsLead,
		Source: string(a.Source), Confidence: a.Confidence, Known: a.Known()}
}
