// Package commitstatus tells a forge what became of a check of one commit, by
// the call that GitHub, Gitea and Forgejo share: POST
// /repos/{owner}/{repo}/statuses/{sha}.
//
// It may import connector/rest and connector. Invariant: a status that was not
// taken is an error; a forge that requires the check then keeps the merge shut.
package commitstatus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/rest"
)

// Status is what a forge shows beside a commit.
type Status struct {
	// State is pending, success, failure (the check says no) or error (it could
	// not tell). Only success lets a required check pass.
	State string `json:"state"`
	// Context names the check as branch protection requires it.
	Context string `json:"context"`
	// Description is one line; it is cut at 140 bytes, the bound of GitHub.
	Description string `json:"description"`
	// Link leads to the case or the install, "" for none.
	Link string `json:"target_url,omitempty"`
}

// Check says what is wrong with the address of a commit's statuses, nil if
// nothing is; nothing is dialled.
func Check(address string) error {
	_, err := parse(address)
	return err
}

func parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		!strings.Contains(u.Path, "/statuses/") {
		return nil, errors.New("want the address of the commit's statuses, like https://forge.example.com/api/v1/repos/acme/shop/statuses/SHA")
	}
	return u, nil
}

// Post sets the status at address, the whole address of the commit's statuses.
// An error of kind connector.KindUnsure leaves open whether the forge took it;
// setting it again does no harm, as the newest status counts.
func Post(ctx context.Context, address, token string, s Status, now func() time.Time) error {
	u, err := parse(address)
	if err != nil {
		return err
	}
	// The address is the caller's own word, so its host may be an inner one.
	network, err := connector.ParseNetwork([]string{u.Hostname()})
	if err != nil {
		return err
	}
	path := u.EscapedPath()
	u.Path, u.RawPath = "", ""
	c, err := rest.New(rest.Options{Base: u.String(), Auth: rest.Header("Authorization", "token "+token), Secrets: []string{token},
		HTTP: connector.HTTPOptions{Network: network}, Now: now})
	if err != nil {
		return fmt.Errorf("address of the statuses: %w", err)
	}
	if len(s.Description) > 140 {
		s.Description = strings.ToValidUTF8(s.Description[:137], "") + "…"
	}
	_, err = c.Do(ctx, rest.Call{What: "setting the commit's status", Method: http.MethodPost, Path: path, In: s})
	return err
}
