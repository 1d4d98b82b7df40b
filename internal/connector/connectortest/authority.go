package connectortest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Authority signs certificates that only those accept who were given PEM.
type Authority struct {
	// PEM is its own certificate.
	PEM string

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority for one test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{}
	der := a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "private authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.PEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

// sign signs x for the key of another, for the authority's own if key is nil.
func (a *Authority) sign(t testing.TB, x *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	x.SerialNumber, x.NotBefore, x.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.cert
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
		a.key, parent = key, x
	}
	der, err := x509.CreateCertificate(rand.Reader, x, parent, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Issue makes a certificate for a host, an address or a name, as PEM.
func (a *Authority) Issue(t testing.TB, host string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{Subject: pkix.Name{CommonName: host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(host); ip != nil {
		x.IPAddresses = []net.IP{ip}
	} else {
		x.DNSNames = []string{host}
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.sign(t, x, private)}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// TLS makes a server's configuration with a certificate for a host.
func (a *Authority) TLS(t testing.TB, host string) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(a.Issue(t, host))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}
