package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Role is a named set of permissions.
type Role string

// The roles, from little to much. RoleSource is for senders of alerts.
const (
	RoleViewer    Role = "viewer"
	RoleResponder Role = "responder"
	RoleApprover  Role = "approver"
	RoleAdmin     Role = "admin"
	RoleSource    Role = "source"
)

// Permission is one thing a route may demand.
type Permission uint8

// The permissions. Public is what everybody may do without a principal.
const (
	Public     Permission = iota
	View                  // read cases, approvals, events
	Respond               // ack, assign, comment, verify, contain, snooze, escalate, undo, reopen, merge, split; ask for exceptions
	Attest                // close on one's word
	Decide                // approve, reject, grant exceptions: a human, always
	Halt                  // the kill switch
	Administer            // users and tokens
	Ingest                // send alerts
)

// String returns the stable word of the permission.
func (p Permission) String() string {
	words := []string{"public", "view", "respond", "attest", "decide", "halt", "administer", "ingest"}
	if int(p) < len(words) {
		return words[p]
	}
	return "unknown"
}

// Roles lists all roles in the order of the table.
func Roles() []Role {
	return []Role{RoleViewer, RoleResponder, RoleApprover, RoleAdmin, RoleSource}
}

// Grants is the one table that says what a role may do. What is not listed is
// denied.
func Grants(r Role) []Permission {
	switch r {
	case RoleViewer:
		return []Permission{View}
	case RoleResponder:
		return []Permission{View, Respond}
	case RoleApprover:
		return []Permission{View, Respond, Attest, Decide}
	case RoleAdmin:
		return []Permission{View, Respond, Attest, Decide, Halt, Administer, Ingest}
	case RoleSource:
		return []Permission{Ingest}
	}
	return nil
}

// ParseRoles reads roles separated by commas; an unknown one is an error that
// names the known ones.
func ParseRoles(s string) ([]Role, error) {
	var out []Role
	for _, w := range strings.Split(s, ",") {
		r := Role(strings.ToLower(strings.TrimSpace(w)))
		if r == "" {
			continue
		}
		if Grants(r) == nil {
			return nil, fmt.Errorf("role %q: want viewer, responder, approver, admin or source", w)
		}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no role given: want viewer, responder, approver, admin or source")
	}
	return out, nil
}

func allow(roles []Role, p Permission) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(Grants(r), p) })
}
