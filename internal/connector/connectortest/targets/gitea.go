package targets

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/need"
)

// Gitea is a real forge with one repository whose main branch takes no push
// and no merge without the check casement/gate, and one open pull request.
type Gitea struct {
	// URL of the server; Token may set statuses and merge; Head is the commit
	// of the pull request.
	URL, Token, Head string
}

const giteaConfig = `RUN_MODE = prod
WORK_PATH = %[1]s
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %[2]s
ROOT_URL = http://127.0.0.1:%[2]s/
DISABLE_SSH = true
OFFLINE_MODE = true
STATIC_ROOT_PATH = %[3]s
[database]
DB_TYPE = sqlite3
PATH = %[1]s/gitea.db
[security]
INSTALL_LOCK = true
SECRET_KEY = only-for-this-test
[log]
LEVEL = Error
`

// StartGitea serves the forge until the test ends.
func StartGitea(t testing.TB) *Gitea {
	t.Helper()
	bin := connectortest.Build(t, "gitea", connectortest.Cached)
	if _, err := exec.LookPath("git"); err != nil {
		need.Missing(t, "git is not here")
	}
	dir, err := os.MkdirTemp("", "casement-gitea") // not t.TempDir: its parent is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	run := filepath.Join(dir, "gitea") // root's cache is closed to other users
	if err := os.Link(bin, run); err != nil {
		b, rerr := os.ReadFile(bin)
		if rerr != nil {
			t.Fatal(rerr)
		}
		if err := os.WriteFile(run, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	static := filepath.Join(dir, "static")
	if err := os.CopyFS(static, os.DirFS(filepath.Join(filepath.Dir(bin), "static"))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "app.ini")
	env := []string{"HOME=" + dir, "USER=nobody", "GITEA_WORK_DIR=" + dir}
	prepared := ""
	prepare := func(port string) {
		if err := os.WriteFile(config, fmt.Appendf(nil, giteaConfig, dir, port, static), 0o644); err != nil {
			t.Fatal(err)
		}
		if prepared != "" {
			return
		}
		prepared = port
		if os.Getuid() == 0 {
			err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
				if err == nil && p != run { // its inode is that of the cache
					err = os.Lchown(p, nobody, nobody)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{{"migrate"}, {"admin", "user", "create", "--admin", "--username", "olga", "--password", "olga-5b1c88e2", "--email", "olga@example.invalid", "--must-change-password=false"}} {
			cmd := exec.Command(run, append([]string{"--config", config}, args...)...)
			cmd.Env, cmd.Dir = append(os.Environ(), env...), dir
			if os.Getuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("gitea %s: %v\n%s", args[0], err, out)
			}
		}
	}
	g := &Gitea{}
	addr := connectortest.Start(t, connectortest.Server{Binary: run, Env: env, UID: nobody, Stop: syscall.SIGINT,
		Args: func(addr string) []string {
			_, port, _ := strings.Cut(addr, ":")
			prepare(port)
			return []string{"--config", config, "web"}
		},
		Ready: func(addr string) bool {
			resp, err := http.Get("http://" + addr + "/api/healthz")
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		}})
	g.URL = "http://" + addr
	g.repository(t)
	return g
}

// repository makes what the test is about.
func (g *Gitea) repository(t testing.TB) {
	t.Helper()
	var token struct {
		Sha1 string `json:"sha1"`
	}
	g.must(t, http.MethodPost, "/users/olga/tokens", map[string]any{"name": "ci", "scopes": []string{"write:repository", "write:user"}}, &token)
	g.Token = token.Sha1
	g.must(t, http.MethodPost, "/user/repos", map[string]any{"name": "shop", "auto_init": true, "default_branch": "main"}, nil)
	g.must(t, http.MethodPost, "/repos/olga/shop/branch_protections", map[string]any{"rule_name": "main", "enable_push": false, "enable_status_check": true,
		"status_check_contexts": []string{"casement/gate"}, "block_admin_merge_override": true}, nil)
	_, g.Head = g.Pull(t, "upgrade")
}

// Pull opens a pull request from a new branch that adds a file of its name. It
// returns its number and its commit.
func (g *Gitea) Pull(t testing.TB, branch string) (number int, head string) {
	t.Helper()
	g.must(t, http.MethodPost, "/repos/olga/shop/contents/"+branch+".mod", map[string]any{"content": base64.StdEncoding.EncodeToString([]byte("module shop\n")),
		"branch": "main", "new_branch": branch, "message": "Add a dependency"}, nil)
	var pull struct {
		Number int `json:"number"`
		Head   struct {
			Sha string `json:"sha"`
		} `json:"head"`
	}
	g.must(t, http.MethodPost, "/repos/olga/shop/pulls", map[string]any{"head": branch, "base": "main", "title": "Add a dependency"}, &pull)
	return pull.Number, pull.Head.Sha
}

// Merge tries to merge a pull request and returns the answer, once the forge
// has found out whether the branches fit.
func (g *Gitea) Merge(t testing.TB, number int) (status int, text []byte) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 400 {
		status, text = g.Do(t, http.MethodPost, fmt.Sprintf("/repos/olga/shop/pulls/%d/merge", number), map[string]string{"Do": "merge"})
		if !bytes.Contains(text, []byte("try again later")) {
			break
		}
		<-tick.C
	}
	return status, text
}

// GiteaStatus is what the forge says of one check of a commit.
type GiteaStatus struct {
	State   string `json:"status"`
	Context string `json:"context"`
	Link    string `json:"target_url"`
}

// Effective returns the newest status of each check of a commit, which is what a
// merge is held by.
func (g *Gitea) Effective(t testing.TB, head string) []GiteaStatus {
	t.Helper()
	var all struct {
		Statuses []GiteaStatus `json:"statuses"`
	}
	g.must(t, http.MethodGet, "/repos/olga/shop/commits/"+head+"/status", nil, &all)
	return all.Statuses
}

func (g *Gitea) must(t testing.TB, method, path string, body, out any) {
	t.Helper()
	status, text := g.Do(t, method, path, body)
	if status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatal(err)
		}
	}
}

// Do makes one call of the API as the owner of the repository.
func (g *Gitea) Do(t testing.TB, method, path string, body any) (status int, text []byte) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, g.URL+"/api/v1"+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if g.Token != "" {
		req.Header.Set("Authorization", "token "+g.Token)
	} else {
		req.SetBasicAuth("olga", "olga-5b1c88e2")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text
}

// StatusPath is the path of the statuses of a commit.
func (g *Gitea) StatusPath(head string) string { return "/api/v1/repos/olga/shop/statuses/" + head }
