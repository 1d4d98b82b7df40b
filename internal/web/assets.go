package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

//go:embed assets/style.css assets/app.js assets/icon.svg
var assetFiles embed.FS

// asset is one of our files with its address.
type asset struct {
	body      []byte
	mime      string
	path      string
	integrity string
}

// assetSet holds our files by name.
type assetSet map[string]asset

// loadAssets reads the embedded files; the address holds the content's hash,
// so browsers may keep them for ever.
func loadAssets() assetSet {
	set := assetSet{}
	for name, mime := range map[string]string{
		"style.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		b, err := assetFiles.ReadFile("assets/" + name)
		if err != nil {
			panic(err) // not built in: can't happen in a binary that compiles
		}
		h := sha256.Sum256(b)
		set[name] = asset{body: b, mime: mime, path: "/assets/" + hex.EncodeToString(h[:6]) + "/" + name,
			integrity: "sha256-" + base64.StdEncoding.EncodeToString(h[:])}
	}
	return set
}

func (s *server) asset(w http.ResponseWriter, r *http.Request) error {
	a, ok := s.assets[r.PathValue("name")]
	if !ok || !strings.HasPrefix(a.path, "/assets/"+r.PathValue("hash")+"/") {
		return &problem{Status: http.StatusNotFound, Title: "There is no such file"}
	}
	w.Header().Set("Content-Type", a.mime)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, err := w.Write(a.body)
	if err != nil {
		s.Log.Debug("file not delivered", "err", err)
	}
	return nil
}

func (s *server) favicon(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, s.assets["icon.svg"].path, http.StatusSeeOther)
	return nil
}
