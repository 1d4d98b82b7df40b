package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// access is who may reach a bucket.
type access struct {
	// Policy is the bucket policy as the server wrote it, "" for none; it is
	// compared in canonical form.
	Policy string `json:"policy"`
	// ACL are the grants, sorted; NoACL is true where the server has none.
	ACL   []grant `json:"acl,omitempty"`
	Owner string  `json:"owner,omitempty"`
	NoACL bool    `json:"no_acl,omitempty"`
}

type grant struct {
	Type string `json:"type"`
	// Who is a canonical id, a group URI or a mail address.
	Who        string `json:"who"`
	Permission string `json:"permission"`
}

func (g grant) public() bool {
	return strings.HasSuffix(g.Who, "/global/AllUsers") || strings.HasSuffix(g.Who, "/global/AuthenticatedUsers")
}

func (a access) aclText() string {
	b, err := json.Marshal([]any{a.ACL, a.NoACL})
	if err != nil { // strings and booleans: cannot fail
		return err.Error()
	}
	return string(b)
}

func (a access) digest() string { return connector.Digest(canonical(a.Policy), a.aclText()) }

// change is the data of a plan, and the undo handle.
type change struct {
	Bucket string `json:"bucket"`
	Region string `json:"region,omitempty"`
	Before access `json:"before"`
	After  access `json:"after"`
}

// readAccess reads policy and ACL.
func (c *Connector) readAccess(ctx context.Context, bucket string, r connector.Request) (access, error) {
	var a access
	p, err := c.api.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: &bucket}, c.region(r))
	switch {
	case err == nil:
		a.Policy = aws.ToString(p.Policy)
	case code(err) != "NoSuchBucketPolicy":
		return a, connector.ReadOnly(fail("reading the policy of bucket "+bucket, r, err))
	}
	acl, err := c.api.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: &bucket}, c.region(r))
	switch {
	case err == nil:
	case code(err) == "NotImplemented", code(err) == "AccessControlListNotSupported", code(err) == "MethodNotAllowed":
		a.NoACL = true
		return a, nil
	default:
		return a, connector.ReadOnly(fail("reading the ACL of bucket "+bucket, r, err))
	}
	if acl.Owner != nil {
		a.Owner = aws.ToString(acl.Owner.ID)
	}
	for _, g := range acl.Grants {
		if g.Grantee == nil {
			continue
		}
		who := aws.ToString(g.Grantee.ID)
		if u := aws.ToString(g.Grantee.URI); u != "" {
			who = u
		} else if m := aws.ToString(g.Grantee.EmailAddress); who == "" {
			who = m
		}
		a.ACL = append(a.ACL, grant{Type: string(g.Grantee.Type), Who: who, Permission: string(g.Permission)})
	}
	slices.SortFunc(a.ACL, func(x, y grant) int {
		return strings.Compare(x.Who+" "+x.Permission, y.Who+" "+y.Permission)
	})
	return a, nil
}

func (c *Connector) planRemove(ctx context.Context, r connector.Request) (remedy.Plan, error) {
	bucket, err := bucketOf(r)
	if err != nil {
		return remedy.Plan{}, err
	}
	before, err := c.readAccess(ctx, bucket, r)
	if err != nil {
		return remedy.Plan{}, err
	}
	after := before
	policy, lines, err := withoutPublic(before.Policy)
	if err != nil {
		return remedy.Plan{}, connector.Errorf(connector.KindRefused, "bucket %s: %v", bucket, err)
	}
	after.Policy = policy
	after.ACL = nil
	for _, g := range before.ACL {
		if g.public() {
			group := g.Who[strings.LastIndex(g.Who, "/")+1:]
			lines = append(lines, fmt.Sprintf("ACL: %s for %s", g.Permission, group))
			continue
		}
		after.ACL = append(after.ACL, g)
	}
	data, err := json.Marshal(change{Bucket: bucket, Region: r.Params["region"], Before: before, After: after})
	if err != nil {
		return remedy.Plan{}, err
	}
	p := remedy.Plan{Data: string(data), BeforeDigest: before.digest(),
		Text:  fmt.Sprintf("Remove public access to bucket %s:\n- %s", bucket, strings.Join(lines, "\n- ")),
		Blast: fmt.Sprintf("readers without a credential lose bucket %s; named principals keep their access", bucket),
		Undo:  "puts policy and ACL of the bucket back as they were"}
	if len(lines) == 0 {
		p.Text = fmt.Sprintf("Nothing to remove at bucket %s: neither its policy nor its ACL names everybody (object ACLs and access points are not looked at)", bucket)
		p.Blast = "none: nothing would change"
	}
	return p, nil
}

// place puts the bucket where it differs from want. Each part must be at from
// or at want: another value is somebody else's change.
func (c *Connector) place(ctx context.Context, r connector.Request, ch change, from, want access, what string) (connector.Outcome, error) {
	live, err := c.readAccess(ctx, ch.Bucket, r)
	if err != nil {
		return connector.Outcome{}, err
	}
	for _, part := range []struct{ name, live, from, want string }{
		{"policy", canonical(live.Policy), canonical(from.Policy), canonical(want.Policy)},
		{"ACL", live.aclText(), from.aclText(), want.aclText()},
	} {
		if part.live != part.from && part.live != part.want {
			return connector.Outcome{}, connector.Errorf(connector.KindRefused, "%s bucket %s: its %s was changed by somebody else meanwhile", what, ch.Bucket, part.name)
		}
	}
	o := connector.Outcome{Nothing: true}
	did := 0
	if canonical(live.Policy) != canonical(want.Policy) {
		if err := c.putPolicy(ctx, r, ch.Bucket, want.Policy); err != nil {
			return o, err
		}
		did++
	}
	if live.aclText() != want.aclText() {
		if err := c.putACL(ctx, r, ch.Bucket, want); err != nil {
			if did > 0 { // the policy is changed already
				err.Kind = connector.KindUnsure
			}
			return o, err
		}
		did++
	}
	o.Nothing = did == 0
	o.Detail = fmt.Sprintf("bucket %s: %d of policy and ACL written", ch.Bucket, did)
	return o, nil
}

func (c *Connector) putPolicy(ctx context.Context, r connector.Request, bucket, policy string) *connector.Error {
	if policy == "" {
		if _, err := c.api.DeleteBucketPolicy(ctx, &awss3.DeleteBucketPolicyInput{Bucket: &bucket}, c.region(r)); err != nil {
			return fail("deleting the policy of bucket "+bucket, r, err)
		}
		return nil
	}
	if _, err := c.api.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy}, c.region(r)); err != nil {
		return fail("writing the policy of bucket "+bucket, r, err)
	}
	return nil
}

func (c *Connector) putACL(ctx context.Context, r connector.Request, bucket string, a access) *connector.Error {
	acl := &types.AccessControlPolicy{Owner: &types.Owner{ID: aws.String(a.Owner)}}
	for _, g := range a.ACL {
		to := &types.Grantee{Type: types.Type(g.Type)}
		switch to.Type {
		case types.TypeGroup:
			to.URI = aws.String(g.Who)
		case types.TypeAmazonCustomerByEmail:
			to.EmailAddress = aws.String(g.Who)
		default:
			to.ID = aws.String(g.Who)
		}
		acl.Grants = append(acl.Grants, types.Grant{Grantee: to, Permission: types.Permission(g.Permission)})
	}
	_, err := c.api.PutBucketAcl(ctx, &awss3.PutBucketAclInput{Bucket: &bucket, AccessControlPolicy: acl}, c.region(r))
	if err != nil {
		return fail("writing the ACL of bucket "+bucket, r, err)
	}
	return nil
}

func parseChange[T any](text, what string) (T, error) {
	var ch T
	if err := json.Unmarshal([]byte(text), &ch); err != nil {
		return ch, connector.Errorf(connector.KindRefused, "the %s is not one of this connector", what)
	}
	return ch, nil
}

func (c *Connector) actRemove(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	ch, err := parseChange[change](r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, err
	}
	o, err := c.place(ctx, r, ch, ch.Before, ch.After, "removing public access of")
	o.UndoHandle = r.Plan.Data
	return o, err
}

func (c *Connector) undoRemove(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	ch, err := parseChange[change](r.UndoHandle, "undo handle")
	if err != nil {
		return connector.Outcome{}, err
	}
	return c.place(ctx, r, ch, ch.After, ch.Before, "putting back the access of")
}

// lookRemove: it happened when the live state is the planned one.
func (c *Connector) lookRemove(ctx context.Context, r connector.Request) (connector.Outcome, bool, error) {
	ch, err := parseChange[change](r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, false, err
	}
	live, err := c.readAccess(ctx, ch.Bucket, r)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	found := live.digest() == ch.After.digest()
	return connector.Outcome{UndoHandle: r.Plan.Data, Detail: "bucket " + ch.Bucket + " is in the planned state"}, found, nil
}
