package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
)

// versionInfo is what `casement version` says.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Environment is the version of the facts policy can read.
	Environment int `json:"policy_environment"`
	// TZ is the version of the embedded time zone database.
	TZ string `json:"time_zones"`
	// PackFiles counts the files of the policy that ships with the program.
	PackFiles int `json:"pack_files"`
}

func buildInfo() versionInfo {
	v := versionInfo{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Environment: policy.EnvVersion, TZ: deadline.ZoneVersion, PackFiles: len(pack.Default())}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (c *cli) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show which version this is",
		Example: "  casement version\n  casement version -o json",
		Args:    cobra.NoArgs,
	}
	f := output(cmd, "text", "json")
	cmd.RunE = c.does(func(context.Context, []string) error {
		v := buildInfo()
		if f.word == "json" {
			return emitJSON(c, v)
		}
		rev := v.Revision
		if len(rev) > 12 {
			rev = rev[:12]
		}
		if v.Modified {
			rev += " (modified)"
		}
		fmt.Fprintf(c.out, "casement %s\n", v.Version)
		if rev != "" {
			fmt.Fprintf(c.out, "built from %s\n", rev)
		}
		fmt.Fprintf(c.out, "%s %s, policy facts version %d, time zones %s\n", v.Go, v.Platform, v.Environment, v.TZ)
		return nil
	})
	return cmd
}
