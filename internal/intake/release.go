package intake

import (
	"context"
	"errors"
	"net/http"

	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

// ShownSize bounds how much of a quarantined body is shown, in bytes.
const ShownSize = 256 << 10

// Show returns a quarantined body as people may look at it: its beginning, with
// what may be secret taken out. whole is its size in bytes; cut says that there
// is more.
func (in *Intake) Show(it store.InboxItem) (text string, whole int, cut bool, err error) {
	body, err := in.Seal.Open(it.Body)
	if err != nil {
		return "", 0, false, err
	}
	if whole = len(body); whole > ShownSize {
		body, cut = body[:ShownSize], true
	}
	var secrets []string
	for _, r := range all.Readers() {
		secrets = append(secrets, all.SecretPaths(r.Name())...)
	}
	if src, ok := in.Source(it.Source); ok {
		secrets = append(secrets, src.mappedSecrets()...)
	}
	return string(format.RedactUnread(body, secrets)), whole, cut, nil
}

// Release reads a quarantined body again, by the readers there are now and by
// with, if not nil, and commits what is in it. What is read whole leaves the
// quarantine; what is still not, or not wholly, readable stays, and the answer
// says why (422). Where what was read can't be committed now, the body goes back
// to those that are worked on later (202); one that was read by with stays,
// because nothing else knows how. Released twice, its findings are sightings.
func (in *Intake) Release(ctx context.Context, it store.InboxItem, with format.Reader, e store.StreamEvent) (Answer, error) {
	now := in.Now().UTC()
	src, ok := in.Source(it.Source)
	if !ok {
		src = Source{Name: it.Source}
	}
	src.Tenant = it.Tenant // as authenticated when it arrived
	if with != nil {
		src.Mapping = with
	}
	body, err := in.Seal.Open(it.Body)
	if err != nil {
		return Answer{}, err
	}
	stays := Answer{Stored: true, Quarantine: it.ID, Status: http.StatusUnprocessableEntity}
	var rec received
	res, err := in.read(&rec, src, it.Headers["event"], body, it.ReceivedAt)
	if err != nil {
		stays.Error = err.Error()
		return stays, nil
	}
	a := Answer{Format: res.Format, Read: res.Read, Kept: res.Kept, Suppressed: res.Suppressed, Refused: res.Refused, Refusal: res.Refusals, Stored: true, Status: http.StatusOK}
	err = in.observe(ctx, it.Tenant, &rec, now, func(_ int, r ItemResult) { a.Results = append(a.Results, r) })
	switch {
	case err != nil && with == nil && res.Refused == 0:
		a.Later, a.Status, a.Error = it.ID, http.StatusAccepted, "not all of it could be committed now: "+err.Error()
		err = in.Inbox.QuarantineRelease(ctx, it.Tenant, it.ID, it.Body, now, e)
	case err != nil:
		a.Quarantine, a.Status, a.Error = it.ID, http.StatusUnprocessableEntity, "not all of it could be committed now: "+err.Error()
		return a, nil
	case res.Refused > 0:
		a.Quarantine, a.Status, a.Error = it.ID, http.StatusUnprocessableEntity, refusal(res)
		return a, nil
	default:
		err = in.Inbox.QuarantineDrop(ctx, it.Tenant, it.ID, e)
	}
	if errors.Is(err, record.ErrNotFound) { // somebody else was faster: it is taken in all the same
		err = nil
	}
	return a, err
}

// mappedSecrets are the places of secrets that the source's mapping names.
func (s Source) mappedSecrets() []string {
	if m, ok := s.Mapping.(interface{ SecretPaths() []string }); ok {
		return m.SecretPaths()
	}
	return nil
}
