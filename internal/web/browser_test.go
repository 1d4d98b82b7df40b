package web

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/casement/casement/internal/pagetest"
)

// TestBrowser signs in, opens the list and a case, and approves by clicking;
// the console stays silent throughout.
func TestBrowser(t *testing.T) {
	w := newWorld(t)
	w.seed()
	srv := httptest.NewServer(w.h)
	t.Cleanup(srv.Close) // after the tab: its stream of events keeps a connection open
	b := pagetest.New(t)

	b.Do("sign in", chromedp.EmulateViewport(1360, 900), pagetest.Open(srv.URL+"/approvals/c-invoices/e1.1"), pagetest.See(`input[name=password]`))
	b.Do("sign in", pagetest.Type(`input[name=name]`, "dana"), pagetest.Type(`input[name=password]`, password),
		pagetest.Click(`form[action="/login"] button`), pagetest.See(`#approve`))

	b.Do("open the list", pagetest.Open(srv.URL+"/cases"), pagetest.See(`table.list`))

	b.Do("choose a risk class", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](`(function(){const s=document.querySelector("select[name=risk]");s.value="K1";
			s.dispatchEvent(new Event("change",{bubbles:true}));return true;})()`)(ctx, target)
		return err
	}), pagetest.See(`.clear`))
	url := pagetest.Get(b, "where", chromedp.Location())
	if !strings.Contains(url, "risk=K1") || strings.Contains(url, "state=") {
		t.Errorf("the filter's address is %s, want risk=K1 and no empty parameters", url)
	}
	b.Do("open a case", pagetest.Open(srv.URL+"/cases/c-media"), pagetest.See(`.proof`))
	b.Do("open the approvals", pagetest.Open(srv.URL+"/approvals"), pagetest.See(`.asks`))
	b.Do("open the card", pagetest.Open(srv.URL+"/approvals/c-invoices/e1.1"), pagetest.See(`#approve`))
	b.Do("set a ticket to done", pagetest.Open(srv.URL+"/tickets"), pagetest.See(`a[href="/tickets/1"]`), pagetest.Click(`a[href="/tickets/1"]`), pagetest.See(`#to-check`))
	b.Do("set a ticket to done", pagetest.Click(`#to-check`), pagetest.See(`.said`))
	c, err := w.model.Load(context.Background(), "c-invoices")
	if err != nil || c.Tickets[0].Status != "done" {
		t.Errorf("the case does not know of the claim: %+v (%v)", c.Tickets, err)
	}

	// By keyboard alone: Tab comes to the button, which shows its focus, and
	// Enter approves.
	b.Do("approve", pagetest.Open(srv.URL+"/approvals/c-invoices/e1.1"), pagetest.See(`#approve`))
	for i := 0; ; i++ {
		b.Do("tab", chromedp.KeyEvent("\t"))
		at := pagetest.Get(b, "focus", chromedp.Evaluate[string](`document.activeElement.id+" "+getComputedStyle(document.activeElement).outlineStyle`))
		if i == 60 {
			t.Fatalf("Tab does not come to the button: at %q", at)
		}
		if !strings.HasSuffix(at, "solid") {
			t.Errorf("the focus can't be seen at %q", at)
		}
		if strings.HasPrefix(at, "approve ") {
			break
		}
	}
	b.Do("approve", chromedp.KeyEvent("\r"), pagetest.See(`.decided`))
	if status := b.Text(`.decided`); !strings.Contains(status, "Approved by dana as approver") {
		t.Errorf("after the click the card says %q", status)
	}
	// A hint refreshes the open list: the approved case is no longer there.
	listens := w.hints.next()
	b.Do("live list", pagetest.Open(srv.URL+"/approvals"), pagetest.See(`a[href="/approvals/c-meetnotes/e1.1"]`))
	select {
	case <-listens:
	case <-time.After(time.Minute):
		t.Fatal("the page does not listen to hints")
	}
	if _, err := w.approve("c-meetnotes", "e1.1", "u-dana"); err != nil {
		t.Fatal(err)
	}
	b.Do("live list", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		w.hints.poke()
		_, err := chromedp.WaitNotPresent(chromedp.CSS(`a[href="/approvals/c-meetnotes/e1.1"]`))(ctx, target)
		return err
	}))
	if said := b.Console(); said != "" {
		t.Errorf("the console is not silent: %s", said)
	}
}
