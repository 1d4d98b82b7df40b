package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// The exit codes. They are a contract: scripts branch on them.
const (
	codeOK         = 0
	codeError      = 1
	codeUsage      = 2
	codeConfig     = 3
	codeGate       = 4
	codeNotFound   = 5
	codeAuth       = 6
	codeConflict   = 7
	codeRemote     = 8
	codePartial    = 9
	codeUnverified = 10
	codeFolder     = 11
	codeTimeout    = 124
	codeInterrupt  = 130
)

// exitCodes describes each code, in order.
func exitCodes() []struct {
	code          int
	name, meaning string
} {
	return []struct {
		code          int
		name, meaning string
	}{
		{codeOK, "ok", "it worked"},
		{codeError, "error", "it did not work, and the message says why: no record could be read, a policy test fails, …"},
		{codeUsage, "usage", "the command line is wrong, or what it asks for is no valid value"},
		{codeConfig, "invalid", "configuration, policy, owners or a mapping file is invalid; every fault is listed"},
		{codeGate, "gate failed", "the gate found what policy blocks; nothing is broken"},
		{codeNotFound, "not found", "no such case, approval, exception, user, token, file or data folder"},
		{codeAuth, "not allowed", "no credentials, or not the right to do this"},
		{codeConflict, "conflict", "the state forbids it, or it changed meanwhile"},
		{codeRemote, "remote", "an outside system or the server could not be reached or failed"},
		{codePartial, "partial", "some of it worked; what did not is listed"},
		{codeUnverified, "not verified", "a check said no: the risk is still there, or a ledger does not hold"},
		{codeFolder, "data folder", "the data folder, or the folder of a backup, can't be written: no rights, no room, or a disk for reading only"},
		{codeTimeout, "timeout", "it took longer than allowed"},
		{codeInterrupt, "interrupted", "it was stopped by a signal"},
	}
}

// exitError is an error with its exit code and, if known, what to do next.
type exitError struct {
	code int
	err  error
	mend string
	// silent errors were already reported in the command's own output.
	silent bool
}

// Error returns the message.
func (e *exitError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *exitError) Unwrap() error { return e.err }

// failf makes an error with an exit code; mend may be "".
func failf(code int, mend, format string, a ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, a...), mend: mend}
}

// mendOf says what to do about an error, "" if that is not known.
func mendOf(err error) string {
	var e *exitError
	var folder *store.FolderError
	switch {
	case errors.As(err, &e):
		return e.mend
	case !errors.As(err, &folder):
		return ""
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on the disk of " + shellWord(folder.Folder) + ", or name another folder with --data"
	case errors.Is(err, syscall.EROFS):
		return "mount the disk of " + shellWord(folder.Folder) + " for writing, or name another folder with --data"
	}
	return fmt.Sprintf("the folder and its files must belong to user id %d, which runs this (look: ls -ld %s); or name another folder with --data", os.Getuid(), shellWord(folder.Folder))
}

// silent is an exit code whose reason was already printed.
func silent(code int) error {
	return &exitError{code: code, err: errors.New("see above"), silent: true}
}

// codeOf finds the exit code of an error.
func codeOf(err error) int {
	var e *exitError
	var refusal *remedy.Refusal
	var pi policy.Issues
	var ci config.Issues
	var fe *format.Error
	var moved *store.MovedError
	var folder *store.FolderError
	switch {
	case err == nil:
		return codeOK
	case errors.As(err, &e):
		return e.code
	case as(err, &folder):
		return codeFolder
	case errors.Is(err, context.Canceled):
		return codeInterrupt
	case errors.Is(err, context.DeadlineExceeded):
		return codeTimeout
	case errors.As(err, &pi), errors.As(err, &ci):
		return codeConfig
	case errors.Is(err, record.ErrNotFound):
		return codeNotFound
	case errors.As(err, &refusal), errors.As(err, &moved), errors.Is(err, record.ErrConflict), errors.Is(err, record.ErrPaused):
		return codeConflict
	case errors.As(err, &fe):
		return codeError
	}
	return codeError
}

// helpTopics are pages that are no commands: `casement help exit-codes`.
func helpTopics() []*cobra.Command {
	var b strings.Builder
	b.WriteString("Exit codes of casement. Scripts may rely on them; a code that is not listed\nhere must be treated as a failure.\n\n")
	for _, c := range exitCodes() {
		fmt.Fprintf(&b, "%5d  %-13s %s\n", c.code, c.name, c.meaning)
	}
	b.WriteString("\nWhere several would fit, the first that applies is used: interrupted and timeout\ncome before all others, partial comes after the codes that say what failed.\n")
	var env strings.Builder
	env.WriteString("Every setting outside named sections can be given in three ways, and the first\nthat is there counts: flag, environment, file, default. Secrets are references in\nfiles (env:NAME, file:PATH, cmd:PROGRAM ARGS), never flags.\n\n")
	for _, k := range config.Keys() {
		fmt.Fprintf(&env, "  %-34s %s\n", k.Env, k.Name)
	}
	env.WriteString("\n  CASEMENT_CONFIG                    file or directory of the configuration\n")
	env.WriteString("  CASEMENT_URL, CASEMENT_TOKEN       server and token for commands on cases\n")
	env.WriteString("  " + statusToken + "              token of the forge, for gate --status\n")
	env.WriteString("  NO_COLOR, COLUMNS, TERM=dumb       plain output, width of tables\n")
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What each exit code means", Long: strings.TrimRight(b.String(), "\n")},
		{Use: "environment", Short: "Environment variables and the settings they set", Long: strings.TrimRight(env.String(), "\n")},
	}
}
