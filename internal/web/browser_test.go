package web

import (
	"context"
	"flag"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

// tab is one page of a headless Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context
	mu  sync.Mutex
	// said is what the page wrote to the console.
	said []string
}

// newTab starts a browser, or skips the test loudly where there is none;
// CASEMENT_FULL=1 makes that a failure.
func newTab(t *testing.T) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CASEMENT_FULL") == "1" {
			t.Fatal("chromium is not installed and CASEMENT_FULL=1 demands the browser test")
		}
		t.Skip("SKIPPED: chromium is not installed, the pages were not opened in a browser (apt-get install chromium)")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("hide-scrollbars", true))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.said = append(b.said, m.String()+" "+m.URL)
			b.mu.Unlock()
		}
	}()
	return b
}

func (b *tab) console() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.said, "\n")
}

// do runs steps that must end within half a minute.
func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx); err != nil { // starts the browser without a time limit of its own
		b.t.Fatalf("%s: %v", what, err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v\nconsole: %s", what, err, b.console())
	}
}

func see(sel chromedp.CSS) chromedp.Action[chromedp.Void]   { return chromedp.WaitVisible(sel) }
func click(sel chromedp.CSS) chromedp.Action[chromedp.Void] { return chromedp.Click(sel) }

// tallest is the height of the tallest screenshot, in CSS pixels: the timeline
// of a case goes on below it.
const tallest = 1700

// shoot writes a screenshot of the page when run with -update.
func (b *tab) shoot(name string, width int64, scheme string) {
	b.t.Helper()
	if !updating() {
		return
	}
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		b.t.Fatal(err)
	}
	b.do("resize", chromedp.EmulateViewport(width, 800))
	high, err := chromedp.Run(b.ctx, chromedp.Evaluate[int64](`document.documentElement.scrollHeight`))
	if err != nil {
		b.t.Fatal(err)
	}
	b.do("resize", chromedp.EmulateViewport(width, min(high, tallest)))
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatalf("screenshot %s: %v", name, err)
	}
	b.do("resize", chromedp.EmulateViewport(1360, 900))
	file := filepath.Join("..", "..", "docs", "screenshots", name+".png")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// TestBrowser signs in, opens the list and a case, and approves by clicking;
// the console stays silent throughout.
func TestBrowser(t *testing.T) {
	w := newWorld(t)
	w.seed()
	srv := httptest.NewServer(w.h)
	t.Cleanup(srv.Close) // after the tab: its stream of events keeps a connection open
	b := newTab(t)

	b.do("sign in", chromedp.EmulateViewport(1360, 900), chromedp.Navigate(srv.URL+"/approvals/c-invoices/e1.1"), see(`input[name=password]`))
	b.shoot("login", 1180, "light")
	b.do("sign in", chromedp.SendKeys(chromedp.CSS(`input[name=name]`), "dana"), chromedp.SendKeys(chromedp.CSS(`input[name=password]`), password),
		click(`form[action="/login"] button`), see(`#approve`))
	b.shoot("approval", 1180, "light")

	b.do("open the list", chromedp.Navigate(srv.URL+"/cases"), see(`table.list`))
	b.shoot("cases", 1440, "light")
	b.shoot("cases-dark", 1440, "dark")
	b.shoot("cases-narrow", 390, "light")

	b.do("choose a risk class", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](`(function(){const s=document.querySelector("select[name=risk]");s.value="K1";
			s.dispatchEvent(new Event("change",{bubbles:true}));return true;})()`)(ctx, target)
		return err
	}), see(`.clear`))
	url, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil || !strings.Contains(url, "risk=K1") || strings.Contains(url, "state=") {
		t.Errorf("the filter's address is %s (%v), want risk=K1 and no empty parameters", url, err)
	}
	b.do("open a case", chromedp.Navigate(srv.URL+"/cases/c-media"), see(`.proof`))
	b.shoot("case", 1360, "light")
	b.do("open the approvals", chromedp.Navigate(srv.URL+"/approvals"), see(`.asks`))
	b.shoot("approvals", 1180, "light")
	b.do("open the card", chromedp.Navigate(srv.URL+"/approvals/c-invoices/e1.1"), see(`#approve`))
	b.shoot("approval-narrow", 390, "dark")
	b.do("set a ticket to done", chromedp.Navigate(srv.URL+"/tickets"), see(`a[href="/tickets/1"]`), click(`a[href="/tickets/1"]`), see(`#to-check`))
	b.shoot("ticket", 1180, "light")
	b.do("set a ticket to done", click(`#to-check`), see(`.said`))
	c, err := w.model.Load(context.Background(), "c-invoices")
	if err != nil || c.Tickets[0].Status != "done" {
		t.Errorf("the case does not know of the claim: %+v (%v)", c.Tickets, err)
	}

	// By keyboard alone: Tab comes to the button, which shows its focus, and
	// Enter approves.
	b.do("approve", chromedp.Navigate(srv.URL+"/approvals/c-invoices/e1.1"), see(`#approve`))
	for i := 0; ; i++ {
		b.do("tab", chromedp.KeyEvent("\t"))
		at, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.activeElement.id+" "+getComputedStyle(document.activeElement).outlineStyle`))
		if err != nil || i == 60 {
			t.Fatalf("Tab does not come to the button: at %q (%v)", at, err)
		}
		if !strings.HasSuffix(at, "solid") {
			t.Errorf("the focus can't be seen at %q", at)
		}
		if strings.HasPrefix(at, "approve ") {
			break
		}
	}
	b.do("approve", chromedp.KeyEvent("\r"), see(`.decided`))
	status, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(`.decided`)))
	if err != nil || !strings.Contains(status, "Approved by dana as approver") {
		t.Errorf("after the click the card says %q (%v)", status, err)
	}
	// A hint refreshes the open list: the approved case is no longer there.
	b.do("live list", chromedp.Navigate(srv.URL+"/approvals"), see(`a[href="/approvals/c-meetnotes/e1.1"]`))
	if _, err := w.approve("c-meetnotes", "e1.1", "u-dana"); err != nil {
		t.Fatal(err)
	}
	b.do("live list", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		w.hints.poke()
		_, err := chromedp.WaitNotPresent(chromedp.CSS(`a[href="/approvals/c-meetnotes/e1.1"]`))(ctx, target)
		return err
	}))
	if said := b.console(); said != "" {
		t.Errorf("the console is not silent: %s", said)
	}
}
