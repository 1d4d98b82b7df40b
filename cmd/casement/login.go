package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/config"
)

// person are the flags of commands that only a signed-in person may give.
type person struct{ as, password string }

func signsIn(cmd *cobra.Command) *person {
	p := &person{}
	cmd.Flags().StringVar(&p.as, "as", "", "login `name` (asked for if not given)")
	cmd.Flags().StringVar(&p.password, "password", "", "`reference` to the password: env:NAME, file:PATH or cmd:PROGRAM (asked for if not given)")
	return p
}

// signIn opens a session of a person: a token never decides. The session ends
// with the command.
func (c *cli) signIn(ctx context.Context, k *client, p *person) error {
	name, err := c.ask("Login name: ", p.as)
	if err != nil {
		return err
	}
	secret, err := c.secret(ctx, "Password: ", p.password)
	if err != nil {
		return err
	}
	token := k.token
	k.token = ""
	resp, err := k.send(ctx, "POST", "/login", "application/x-www-form-urlencoded", strings.NewReader(url.Values{"name": {name}, "password": {secret}}.Encode()))
	if err != nil {
		k.token = token
		if codeOf(err) == codeAuth {
			return failf(codeAuth, "an administrator can set another: casement user password NAME", "name or password is wrong")
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		return failf(codeRemote, "", "%s did not sign you in", k.where)
	}
	return nil
}

// ask reads a line from the person, unless the value is given.
func (c *cli) ask(prompt, value string) (string, error) {
	if value != "" {
		return value, nil
	}
	if c.noInput || !isTerminal(c.in) {
		return "", failf(codeUsage, "give it as a flag", "%s is not given, and nobody is there to ask", strings.ToLower(strings.TrimSuffix(prompt, ": ")))
	}
	fmt.Fprint(c.err, prompt)
	line, err := readLine(c.in)
	if err == nil && line == "" {
		err = failf(codeUsage, "", "nothing was entered")
	}
	return line, err
}

// secret resolves a reference, or asks without echo.
func (c *cli) secret(ctx context.Context, prompt, ref string) (string, error) {
	if ref != "" {
		dir, err := os.Getwd()
		if err != nil {
			return "", err
		}
		s, err := config.NewSecret(ref, dir)
		if err != nil {
			return "", failf(codeUsage, "give env:NAME, file:PATH or cmd:PROGRAM, or leave it out to be asked", "%w on the command line is seen by everybody on this machine", err)
		}
		v, err := s.Resolve(ctx)
		if err != nil {
			return "", failf(codeUsage, "give env:NAME, file:PATH or cmd:PROGRAM, or leave it out to be asked", "--password: %w", err)
		}
		return v, nil
	}
	f, ok := c.in.(*os.File)
	if !ok || c.noInput || !isTerminal(c.in) {
		return "", failf(codeUsage, "give it as env:NAME, file:PATH or cmd:PROGRAM", "%s is not given, and nobody is there to ask", strings.ToLower(strings.TrimSuffix(prompt, ": ")))
	}
	fmt.Fprint(c.err, prompt)
	restore, err := hideInput(f)
	if err != nil {
		return "", err
	}
	line, err := readLine(f)
	fmt.Fprintln(c.err)
	return line, errors.Join(err, restore())
}

// readLine reads up to a line break, byte by byte so that nothing is taken from
// the next question.
func readLine(r io.Reader) (string, error) {
	var b strings.Builder
	one := bufio.NewReaderSize(oneByte{r}, 16)
	for b.Len() < 4096 {
		ch, err := one.ReadByte()
		if errors.Is(err, io.EOF) || ch == '\n' {
			break
		}
		if err != nil {
			return "", err
		}
		b.WriteByte(ch)
	}
	return strings.TrimSuffix(b.String(), "\r"), nil
}

// oneByte hands out one byte at a time.
type oneByte struct{ r io.Reader }

// Read implements io.Reader.
func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }
