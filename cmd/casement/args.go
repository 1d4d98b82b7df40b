package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// atLeast demands n arguments and says what they are.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("name at least one %s", what)
		}
		return nil
	}
}

// atMost allows up to n arguments.
func atMost(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("want at most %d %s, got %d: %s", n, what, len(args), strings.Join(args, " "))
		}
		return nil
	}
}

// exactly demands one argument per name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing", names[len(args)])
		case len(args) > len(names):
			return fmt.Errorf("%q is too much: want %s", args[len(names)], strings.Join(names, " "))
		}
		return nil
	}
}

// as is errors.As for a value that is an error type itself.
func as[T error](err error, target *T) bool { return err != nil && errors.As(err, target) }

// firstOf returns the first error that is one.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// fileWords names files in a command people may copy: quoted where a shell
// needs it, and left to them when there are many.
func fileWords(names []string) string {
	if len(names) > 3 {
		return "FILE..."
	}
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = shellWord(n)
	}
	return strings.Join(out, " ")
}

func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(clean(s), "'", `'\''`) + "'"
}
