// Package pagetest opens pages in a real Chromium of Debian's package. It
// imports nothing of ours and is imported by tests only.
package pagetest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/casement/casement/internal/need"
)

// Step is one step in the browser.
type Step = chromedp.Action[chromedp.Void]

// Tab is one page of a headless Chromium.
type Tab struct {
	t   testing.TB
	ctx context.Context
	mu  sync.Mutex
	// said is what the page wrote to the console.
	said []string
}

// New starts a browser that ends with the test. Where Chromium is not installed
// the test is skipped, or fails under CASEMENT_FULL=1.
func New(t testing.TB) *Tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		need.Missing(t, "chromium is not installed, the pages were not opened in a browser: scripts/setup.sh installs it")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("hide-scrollbars", true))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	b := &Tab{t: t, ctx: ctx}
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

// Console is what pages wrote to the console since it was asked last.
func (b *Tab) Console() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.said = nil }()
	return strings.Join(b.said, "\n")
}

// Do runs steps that must end within a minute.
func (b *Tab) Do(what string, steps ...Step) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx); err != nil { // starts the browser without a time limit of its own
		b.t.Fatalf("%s: %v", what, err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v\nconsole: %s", what, err, b.Console())
	}
}

// Get runs an action that returns something.
func Get[T any](b *Tab, what string, a chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return v
}

// Open goes to an address.
func Open(address string) Step { return chromedp.Navigate(address) }

// See waits until a CSS selector is visible.
func See(sel string) Step { return chromedp.WaitVisible(chromedp.CSS(sel)) }

// Click clicks what a CSS selector finds.
func Click(sel string) Step { return chromedp.Click(chromedp.CSS(sel)) }

// Type types into the field that a CSS selector finds.
func Type(sel, text string) Step { return chromedp.SendKeys(chromedp.CSS(sel), text) }

// Text is the visible text of what a CSS selector finds.
func (b *Tab) Text(sel string) string {
	b.t.Helper()
	return Get(b, "read "+sel, chromedp.Text(chromedp.CSS(sel)))
}

// Scripts allows or forbids pages to run scripts, from the next page on.
func (b *Tab) Scripts(allowed bool) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !allowed}); err != nil {
		b.t.Fatal(err)
	}
}

// Look is how a page is looked at.
type Look struct {
	// Width of the window in CSS pixels.
	Width int64
	// Scheme is light or dark; Print looks at the page as it would be printed.
	Scheme string
	Print  bool
}

func (b *Tab) look(l Look) {
	b.t.Helper()
	media := ""
	if l.Print {
		media = "print"
	}
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: cmp.Or(l.Scheme, "light")}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media, Features: features}); err != nil {
		b.t.Fatal(err)
	}
	b.Do("resize", chromedp.EmulateViewport(l.Width, 800))
}

// tallest is the height of the tallest screenshot, in CSS pixels: the timeline
// of a case goes on below it.
const tallest = 1700

// Shoot writes a screenshot of the page as it is, and leaves a desktop's light
// window behind.
func (b *Tab) Shoot(file string, l Look) {
	b.t.Helper()
	b.look(l)
	high := Get(b, "measure", chromedp.Evaluate[int64](`document.documentElement.scrollHeight`))
	b.Do("resize", chromedp.EmulateViewport(l.Width, min(high, tallest)))
	shot := Get(b, "screenshot "+file, chromedp.CaptureScreenshot())
	b.look(Look{Width: 1360})
	small, err := fewColours(shot)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, small, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// fewColours writes a picture with the 256 colours it has most of: a third of
// the bytes, and no difference to the eye on pages like ours.
func fewColours(shot []byte) ([]byte, error) {
	full, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, err
	}
	r := full.Bounds()
	dots := image.NewNRGBA(r)
	draw.Draw(dots, r, full, r.Min, draw.Src)
	at := func(i int) color.NRGBA {
		return color.NRGBA{dots.Pix[i], dots.Pix[i+1], dots.Pix[i+2], dots.Pix[i+3]}
	}
	count := map[color.NRGBA]int{}
	for i := 0; i < len(dots.Pix); i += 4 {
		count[at(i)]++
	}
	most := slices.SortedFunc(maps.Keys(count), func(a, b color.NRGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var colours color.Palette
	for _, c := range most[:min(len(most), 256)] {
		colours = append(colours, c)
	}
	small := image.NewPaletted(r, colours)
	near := map[color.NRGBA]uint8{}
	for i := range small.Pix {
		c := at(4 * i)
		n, ok := near[c]
		if !ok {
			n = uint8(colours.Index(c))
			near[c] = n
		}
		small.Pix[i] = n
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small)
	return out.Bytes(), err
}

// axeRun is the rule set of WCAG 2.0 and 2.1, levels A and AA.
const axeRun = `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], resultTypes: ["violations"]}).then(r =>
	JSON.stringify({rules: r.passes.length, violations: r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html + "  " + (n.any[0] || n.all[0] || n.none[0] || {message: ""}).message)}))}))`

// Axe looks at the page with axe-core, whose script is given, and returns what
// breaks WCAG 2.1 A or AA, a line each. The script runs by the protocol of the
// developer tools, which our policy of contents does not reach: the policy
// stays in force for the page itself.
func (b *Tab) Axe(script string, l Look) []string {
	b.t.Helper()
	b.look(l)
	Get(b, "load axe", chromedp.Evaluate[bool](script+"\n;true"))
	text := Get(b, "run axe", chromedp.Evaluate[string](axeRun, chromedp.EvalAwaitPromise))
	b.look(Look{Width: 1360})
	var r struct {
		Rules      int
		Violations []struct {
			ID, Help string
			Nodes    []string
		}
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		b.t.Fatal(err)
	}
	if r.Rules == 0 {
		b.t.Fatal("axe tried no rule")
	}
	var out []string
	for _, v := range r.Violations {
		for _, n := range v.Nodes {
			out = append(out, fmt.Sprintf("%s (%s): %.300s", v.ID, v.Help, n))
		}
	}
	return out
}
