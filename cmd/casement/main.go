// Command casement turns security alerts into verified remediation. main is
// thin: every command returns an error that carries its exit code, and the
// commands are listed in root.go.
//
// It is the roof: it may import everything. Invariants: data goes to standard
// output, talk to standard error; text from outside is shown with its control
// characters replaced; no credential is ever taken from a flag or printed
// twice; a code other than 0 always comes with a message that says what to do.
package main

import "os"

func main() { os.Exit(realMain()) }

// realMain runs the program on the process's own arguments and streams.
func realMain() int {
	return run(os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}
