package auth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/casement/casement/internal/remedy"
)

// The rights by which a person may approve.
const (
	AsApprover = "approver"
	AsBackup   = "backup"
	AsDelegate = "delegate"
	AsAdmin    = "admin"
)

// Entitled says by which right a person may answer the approval request of an
// action now, "" if by none: as one of those asked (by name or through a
// team), as the backup once she was asked, as delegate of one of those, or as
// an admin. The role must allow to decide in every case, and a disabled user
// never may. It is asked when approving and again when acting.
func (s *Service) Entitled(ctx context.Context, person string, c remedy.Case, a remedy.Action) (string, error) {
	u, err := s.Accounts.User(ctx, c.Tenant, person)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if u.Disabled || !allow(u.Roles, Decide) {
		return "", nil
	}
	names := s.namesOf(u)
	asked := a.Approval.From
	if len(asked) == 0 && c.Judgement.Routing.OpsLead != "" {
		asked = []string{c.Judgement.Routing.OpsLead}
	}
	backup := c.Judgement.Routing.Backup
	for _, who := range asked {
		if !matches(names, who) {
			continue
		}
		if sameName(who, backup) && !a.Approval.RemindedAt.IsZero() && !slices.Contains(c.Judgement.Routing.Approvers, who) {
			return AsBackup, nil
		}
		return AsApprover, nil
	}
	if s.Directory != nil {
		for _, n := range names {
			for _, from := range s.Directory.ActsFor(n, s.Now().UTC()) {
				if matches(asked, from) {
					return AsDelegate, nil
				}
			}
		}
	}
	if slices.Contains(u.Roles, RoleAdmin) {
		return AsAdmin, nil
	}
	return "", nil
}

// namesOf are all names a user goes by in routing: id, login name, mail, and
// the teams of each.
func (s *Service) namesOf(u User) []string {
	names := []string{u.ID, u.Name}
	if u.Mail != "" {
		names = append(names, u.Mail)
	}
	if s.Directory == nil {
		return names
	}
	out := slices.Clone(names)
	for _, n := range names {
		out = append(out, s.Directory.Teams(n)...)
	}
	return out
}

// NamesOf are the names a user goes by in routing, her teams among them, for
// "waiting on me" in lists; nil for an unknown user.
func (s *Service) NamesOf(ctx context.Context, tenant, person string) ([]string, error) {
	u, err := s.Accounts.User(ctx, tenant, person)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.namesOf(u), nil
}

func sameName(a, b string) bool { return a != "" && strings.EqualFold(a, b) }

func matches(names []string, who string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return sameName(n, who) })
}

// Names returns the login names of a tenant's users by id, for pages.
func (s *Service) Names(ctx context.Context, tenant string) (map[string]string, error) {
	us, err := s.Accounts.Users(ctx, tenant)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(us)+1)
	for _, u := range us {
		out[u.ID] = u.Name
	}
	out[LocalID] = "command line"
	return out, nil
}
