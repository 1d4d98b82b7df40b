package format

import (
	"strings"

	"github.com/casement/casement/internal/finding"
)

// Scanned is the asset of a report that does not name what was scanned: the
// source's own asset, else the source or file itself, so that two unnamed
// scans are never taken for one asset; its name says that it is not named.
func Scanned(opt Options, typ string) finding.Asset {
	if opt.Asset.UID != "" || opt.File == "" {
		return opt.Asset
	}
	return finding.Asset{UID: opt.File, Type: typ, Name: NotNamed(opt.File)}
}

const notNamed = "not named ("

// NotNamed is the name of an asset of which a report says nothing; what stands
// in for it, a file or a rule, is no asset.
func NotNamed(by string) string { return notNamed + by + ")" }

// Named reports whether a report named its asset.
func Named(a finding.Asset) bool { return !strings.HasPrefix(a.Name, notNamed) }

// SetWorkload names a Kubernetes object as asset: cluster/namespace/kind/name.
// cluster may be empty; an EKS cluster may be given by its ARN.
func SetWorkload(f *finding.Finding, cluster, namespace, kind, name string) {
	uid := ""
	for _, p := range []string{cluster, namespace, kind, name} {
		if p != "" {
			uid += "/" + p
		}
	}
	f.Asset = finding.Asset{Type: "workload", Provider: "kubernetes", UID: uid[min(1, len(uid)):], Name: kind + "/" + name, Account: cluster}
	if a, ok := ParseARN(cluster); ok { // an ARN in the middle of an id would be taken for the id
		f.Asset.UID = "eks/" + a.Account + "/" + a.Region + "/" + a.Name() + uid[1+len(cluster):]
		f.Asset.Account, f.Asset.Region = a.Account, a.Region
	}
	AddHint(f, "namespace", namespace)
	SetParam(f, "namespace", namespace)
	SetParam(f, "kind", kind)
	SetParam(f, "name", name)
}
