package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// block is the public access block of a bucket; the zero value is none.
type block struct {
	Set             bool `json:"set"`
	BlockACLs       bool `json:"block_acls"`
	IgnoreACLs      bool `json:"ignore_acls"`
	BlockPolicy     bool `json:"block_policy"`
	RestrictBuckets bool `json:"restrict_buckets"`
}

func (b block) String() string {
	if !b.Set {
		return "none"
	}
	var on []string
	for _, x := range []struct {
		on   bool
		name string
	}{{b.BlockACLs, "BlockPublicAcls"}, {b.IgnoreACLs, "IgnorePublicAcls"}, {b.BlockPolicy, "BlockPublicPolicy"}, {b.RestrictBuckets, "RestrictPublicBuckets"}} {
		if x.on {
			on = append(on, x.name)
		}
	}
	if len(on) == 0 {
		return "all four off"
	}
	return strings.Join(on, ", ")
}

type blockChange struct {
	Bucket string `json:"bucket"`
	Region string `json:"region,omitempty"`
	Before block  `json:"before"`
	// Access is the digest of policy and ACL the block is laid over: it tells
	// whether the risky state is still the one that was shown.
	Access string `json:"access"`
}

func allBlocked() block { return block{true, true, true, true, true} }

func (c *Connector) readBlock(ctx context.Context, bucket string, r connector.Request) (block, error) {
	out, err := c.api.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: &bucket}, c.region(r))
	if err != nil {
		if code(err) == "NoSuchPublicAccessBlockConfiguration" {
			return block{}, nil
		}
		return block{}, connector.ReadOnly(fail("reading the public access block of bucket "+bucket, r, err))
	}
	p := out.PublicAccessBlockConfiguration
	if p == nil {
		return block{}, nil
	}
	return block{Set: true, BlockACLs: aws.ToBool(p.BlockPublicAcls), IgnoreACLs: aws.ToBool(p.IgnorePublicAcls),
		BlockPolicy: aws.ToBool(p.BlockPublicPolicy), RestrictBuckets: aws.ToBool(p.RestrictPublicBuckets)}, nil
}

func (c *Connector) writeBlock(ctx context.Context, bucket string, b block, r connector.Request) *connector.Error {
	what := "writing the public access block of bucket " + bucket
	if !b.Set {
		if _, err := c.api.DeletePublicAccessBlock(ctx, &awss3.DeletePublicAccessBlockInput{Bucket: &bucket}, c.region(r)); err != nil {
			return fail(what, r, err)
		}
		return nil
	}
	_, err := c.api.PutPublicAccessBlock(ctx, &awss3.PutPublicAccessBlockInput{Bucket: &bucket,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: &b.BlockACLs, IgnorePublicAcls: &b.IgnoreACLs,
			BlockPublicPolicy: &b.BlockPolicy, RestrictPublicBuckets: &b.RestrictBuckets}}, c.region(r))
	if err != nil {
		return fail(what, r, err)
	}
	return nil
}

func (c *Connector) planBlock(ctx context.Context, r connector.Request) (remedy.Plan, error) {
	bucket, err := bucketOf(r)
	if err != nil {
		return remedy.Plan{}, err
	}
	before, err := c.readBlock(ctx, bucket, r)
	if err != nil {
		return remedy.Plan{}, err
	}
	a, err := c.readAccess(ctx, bucket, r)
	if err != nil {
		return remedy.Plan{}, err
	}
	digest := a.digest()
	data, err := json.Marshal(blockChange{Bucket: bucket, Region: r.Params["region"], Before: before, Access: digest})
	if err != nil {
		return remedy.Plan{}, err
	}
	return remedy.Plan{Data: string(data), BeforeDigest: connector.Digest(before.String(), digest),
		Text:  fmt.Sprintf("Block public access to bucket %s:\n- now: %s\n- then: %s", bucket, before, allBlocked()),
		Blast: fmt.Sprintf("readers without a credential and public cross-account grants lose bucket %s", bucket),
		Undo:  "puts the block back to: " + before.String()}, nil
}

// shift moves the block from one value to another, if policy and ACL are still
// those of the plan.
func (c *Connector) shift(ctx context.Context, r connector.Request, ch blockChange, from, to block) (connector.Outcome, error) {
	live, err := c.readBlock(ctx, ch.Bucket, r)
	if err != nil {
		return connector.Outcome{}, err
	}
	if live == to {
		return connector.Outcome{Nothing: true, Detail: "the block is there already"}, nil
	}
	a, err := c.readAccess(ctx, ch.Bucket, r)
	if err != nil {
		return connector.Outcome{}, err
	}
	if live != from || a.digest() != ch.Access {
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "bucket %s: its public access block, policy or ACL was changed by somebody else meanwhile", ch.Bucket)
	}
	if err := c.writeBlock(ctx, ch.Bucket, to, r); err != nil {
		return connector.Outcome{}, err
	}
	return connector.Outcome{Detail: "bucket " + ch.Bucket + ": public access block is now " + to.String()}, nil
}

func (c *Connector) actBlock(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	ch, err := parseChange[blockChange](r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, err
	}
	o, err := c.shift(ctx, r, ch, ch.Before, allBlocked())
	o.UndoHandle = r.Plan.Data
	return o, err
}

func (c *Connector) undoBlock(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	ch, err := parseChange[blockChange](r.UndoHandle, "undo handle")
	if err != nil {
		return connector.Outcome{}, err
	}
	return c.shift(ctx, r, ch, allBlocked(), ch.Before)
}

func (c *Connector) lookBlock(ctx context.Context, r connector.Request) (connector.Outcome, bool, error) {
	ch, err := parseChange[blockChange](r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, false, err
	}
	live, err := c.readBlock(ctx, ch.Bucket, r)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	return connector.Outcome{UndoHandle: r.Plan.Data, Detail: "public access block: " + live.String()}, live == allBlocked(), nil
}
