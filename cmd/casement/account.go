package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// account is a user as the API shows it.
type account struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Mail     string    `json:"mail,omitempty"`
	Roles    []string  `json:"roles"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created_at"`
}

const roleHelp = "`roles`: viewer, responder, approver, admin or source; several with commas"

func (c *cli) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "user",
		Short:   "Add, list and change the people who may sign in",
		Example: "  casement user add kim --roles approver\n  casement user list\n  casement user disable kim",
	}
	cmd.AddCommand(c.userAddCommand(), c.userListCommand(), c.userChangeCommand("roles NAME ROLES", "Change what a user may do", "  casement user roles kim approver,responder"),
		c.userChangeCommand("disable NAME", "Take all rights from a user at once", "  casement user disable kim"),
		c.userChangeCommand("enable NAME", "Give a user's rights back", "  casement user enable kim"),
		c.userChangeCommand("password NAME", "Set a new password; open sessions end", "  casement user password kim"))
	return cmd
}

func (c *cli) userAddCommand() *cobra.Command {
	var roles, mail, password string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user; the password is asked for",
		Long: `Add a user who may sign in; the password (15 characters or more) is asked for, or read where
--password points. viewer looks; responder also works on cases; approver also approves and
grants exceptions; admin also changes users, policy and the kill switch; source sends alerts.`,
		Example: "  casement user add kim --roles approver --mail kim@example.com\n  casement user add ci --roles viewer --password file:pw",
		Args:    exactly("NAME"),
	}
	f := output(cmd, "text", "json")
	cmd.Flags().StringVar(&roles, "roles", "viewer", roleHelp)
	cmd.Flags().StringVar(&mail, "mail", "", "mail `address`; joins the user to the people in the owners files")
	cmd.Flags().StringVar(&password, "password", "", "`reference` to the password: env:NAME, file:PATH or cmd:PROGRAM (asked for if not given)")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		secret, err := c.secret(ctx, "New password (15 characters or more): ", password)
		if err != nil {
			return err
		}
		return c.with(ctx, true, func(k *client) error {
			var u account
			in := map[string]string{"name": args[0], "mail": mail, "roles": roles, "password": secret}
			if err := k.call(ctx, "POST", "/api/v1/users", in, &u); err != nil {
				if codeOf(err) == codeConflict {
					return failf(codeConflict, "casement user roles, enable or password change one that is there", "user %s: %w", args[0], err)
				}
				return err
			}
			if f.word == "json" {
				return emitJSON(c, u)
			}
			fmt.Fprintf(c.out, "user %s is added: %s\n", clean(u.Name), strings.Join(u.Roles, ", "))
			return nil
		})
	})
	return cmd
}

func (c *cli) userListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List users", Example: "  casement user list\n  casement user list -o json", Args: cobra.NoArgs}
	f := lists(cmd)
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, false, func(k *client) error {
			var out struct {
				Users []account `json:"users"`
			}
			if err := k.call(ctx, "GET", "/api/v1/users", nil, &out); err != nil {
				return err
			}
			return emit(c, f, out.Users, func(list []account) {
				if len(list) == 0 {
					fmt.Fprintln(c.out, "no users")
					c.next("casement user add NAME --roles admin")
					return
				}
				tab := newTable("name", "mail~", "roles", "state", "since")
				for _, u := range list {
					state := "active"
					if u.Disabled {
						state = "disabled"
					}
					tab.add(u.Name, u.Mail, strings.Join(u.Roles, ", "), state, u.Created.UTC().Format(time.DateOnly))
				}
				tab.print(c.term, "")
			})
		})
	})
	return cmd
}

// userChangeCommand makes roles, disable, enable and password.
func (c *cli) userChangeCommand(use, short, example string) *cobra.Command {
	word, rest, _ := strings.Cut(use, " ")
	var password string
	cmd := &cobra.Command{Use: use, Short: short, Example: example, Args: exactly(strings.Fields(rest)...)}
	if word == "password" {
		cmd.Flags().StringVar(&password, "password", "", "`reference` to the password: env:NAME, file:PATH or cmd:PROGRAM (asked for if not given)")
	}
	c.dangerous(cmd)
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		in := map[string]any{}
		switch word {
		case "roles":
			in["roles"] = args[1]
		case "disable", "enable":
			in["disabled"] = word == "disable"
		}
		plan := map[string]string{"roles": "User " + args[0] + " may from now on do what " + strings.Join(args[1:], "") + " may, and nothing else.",
			"disable": "User " + args[0] + " loses all rights; sessions and tokens are refused.", "enable": "User " + args[0] + " gets back the rights of before.",
			"password": "User " + args[0] + " gets a new password; open sessions end."}[word]
		if err := c.confirm(plan); err != nil {
			return err
		}
		if word == "password" {
			secret, err := c.secret(ctx, "New password (15 characters or more): ", password)
			if err != nil {
				return err
			}
			in["password"] = secret
		}
		return c.with(ctx, false, func(k *client) error {
			var u account
			if err := k.call(ctx, "PATCH", "/api/v1/users/"+url.PathEscape(args[0]), in, &u); err != nil {
				return missing(err, "casement user list", "there is no user %s", args[0])
			}
			state := strings.Join(u.Roles, ", ")
			if u.Disabled {
				state = "disabled"
			}
			if word == "password" {
				state = "the new password holds"
			}
			fmt.Fprintf(c.out, "user %s: %s\n", clean(u.Name), state)
			return nil
		})
	})
	return cmd
}

// accessToken is an API token without its secret.
type accessToken struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	User    string    `json:"user_id"`
	Roles   []string  `json:"roles"`
	Created time.Time `json:"created_at"`
	Expires time.Time `json:"expires_at,omitzero"`
}

func (c *cli) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Create, list and revoke API tokens",
		Example: "  casement token create --user kim --name ci --roles source --expires 90d\n  casement token revoke tok_0123",
	}
	cmd.AddCommand(c.tokenCreateCommand(), c.tokenListCommand(), c.tokenRevokeCommand())
	return cmd
}

func (c *cli) tokenCreateCommand() *cobra.Command {
	var user, name, roles, expires string
	cmd := &cobra.Command{
		Use:   "create --user NAME --name PURPOSE",
		Short: "Create a token and print it, once",
		Long: `Create a token for programs. It is printed once, to standard output, and kept nowhere:
put it into your secret store. Its rights are those of its roles that its user has as
well. A token sends alerts and gives commands; it never approves.`,
		Example: "  casement token create --user kim --name trivy-ci --roles source --expires 90d > token\n  casement token create --user kim --name reader --roles viewer -o json",
		Args:    cobra.NoArgs,
	}
	f := output(cmd, "text", "json")
	cmd.Flags().StringVar(&user, "user", "", "`name` of the user the token belongs to")
	cmd.Flags().StringVar(&name, "name", "", "`purpose` of the token, for lists")
	cmd.Flags().StringVar(&roles, "roles", "source", roleHelp)
	cmd.Flags().StringVar(&expires, "expires", "90d", "`when` it ends: 90d, 2160h or 2027-01-31")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		if user == "" || name == "" {
			return failf(codeUsage, "casement token create --help", "name the user with --user and the purpose with --name")
		}
		end, err := c.instant(expires)
		if err != nil {
			return err
		}
		return c.with(ctx, false, func(k *client) error {
			var out struct {
				Secret string      `json:"secret"`
				Token  accessToken `json:"token"`
			}
			if err := k.call(ctx, "POST", "/api/v1/tokens", map[string]any{"user": user, "name": name, "roles": roles, "expires": end}, &out); err != nil {
				return missing(err, "casement user list", "there is no user %s", user)
			}
			if f.word == "json" {
				return emitJSON(c, out)
			}
			fmt.Fprintln(c.out, out.Secret)
			c.sayf("token %s (%s) ends on %s; it is shown only now", out.Token.ID, clean(out.Token.Name), out.Token.Expires.UTC().Format(time.DateOnly))
			return nil
		})
	})
	return cmd
}

func (c *cli) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List tokens; their secrets are not kept", Example: "  casement token list", Args: cobra.NoArgs}
	f := lists(cmd)
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, false, func(k *client) error {
			var out struct {
				Tokens []accessToken `json:"tokens"`
			}
			if err := k.call(ctx, "GET", "/api/v1/tokens", nil, &out); err != nil {
				return err
			}
			return emit(c, f, out.Tokens, func(list []accessToken) {
				if len(list) == 0 {
					fmt.Fprintln(c.out, "no tokens")
					c.next("casement token create --user NAME --name PURPOSE")
					return
				}
				tab := newTable("id", "name~", "roles", "ends", "user")
				for _, t := range list {
					end := "never"
					if !t.Expires.IsZero() {
						end = t.Expires.UTC().Format(time.DateOnly)
					}
					tab.add(t.ID, t.Name, strings.Join(t.Roles, ", "), end, t.User)
				}
				tab.print(c.term, "")
			})
		})
	})
	return cmd
}

func (c *cli) tokenRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke ID", Short: "End a token at once", Example: "  casement token revoke tok_0123 --yes", Args: exactly("ID")}
	c.dangerous(cmd)
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		if err := c.confirm("Token " + args[0] + " ends now; whoever uses it is refused."); err != nil {
			return err
		}
		return c.with(ctx, false, func(k *client) error {
			if err := k.call(ctx, "DELETE", "/api/v1/tokens/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return missing(err, "casement token list", "there is no token %s", args[0])
			}
			fmt.Fprintf(c.out, "token %s is revoked\n", args[0])
			return nil
		})
	})
	return cmd
}
