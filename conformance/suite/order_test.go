package suite

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"mtv-matrix/conformance/suite/harness"
)

// Requests that the recorded runs need not send, and why. Their bytes are in the unit tests of op.rs.
var unsent = map[string]string{
	"ReconfigVM_Task":                 "only where a clone is marked by its id, or a story adds a disk; its specification is that of a clone, which is checked",
	"DestroyView":                     "only where two listings that begin at once have each made a view",
	"ReconfigureComputeResource_Task": "only where a scenario keeps a clone from moving (`disable_drs_for_vms`), which the recorded ones don't",
	"CancelTask":                      "only when a cell is cancelled",
	"ShutdownGuest":                   "only where a scenario asks for a graceful end",
	"MakeDirectory":                   "only where a clone's folder is missing",
	"ContinueRetrievePropertiesEx":    "only with more objects than a page holds",
	"StartProgramInGuest":             "only where a story leaves a marker in a guest, and the shipped ones that do run only where they are named",
	"ListProcessesInGuest":            "likewise, for its end",
}

// recorder passes everything to a vSphere endpoint and keeps the requests' bodies.
func recorder(t *testing.T, lab *harness.Lab, endpoint *url.URL, dir string) string {
	t.Helper()
	certificate := harness.ServerCertificate(t)
	target := &url.URL{Scheme: endpoint.Scheme, Host: endpoint.Host}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = newSide(t, "vsphere", "", "", lab.CAFile).client.Transport
	var mutex sync.Mutex
	seen := map[[32]byte]bool{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		mutex.Lock()
		if key := sha256.Sum256(body); bytes.Contains(body, []byte("Envelope")) && !seen[key] {
			seen[key] = true
			_ = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.xml", len(seen))), body, 0o600)
		}
		mutex.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	})
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL + endpoint.Path
}

func TestEveryRequestToVSphereIsInTheOrderOfTheWSDL(t *testing.T) {
	t.Parallel()
	python := harness.Python(t)
	lab := harness.StartLab(t)
	dir := t.TempDir()
	endpoint := recorder(t, lab, vsphere(t, lab), dir)
	text, err := os.ReadFile(lab.Providers)
	if err != nil {
		t.Fatal(err)
	}
	var providers map[string]map[string]any
	if err := json.Unmarshal(text, &providers); err != nil {
		t.Fatal(err)
	}
	profile := map[string]map[string]any{"vsphere": providers["vsphere"]}
	profile["vsphere"]["api_url"] = endpoint
	text, err = json.Marshal(profile)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "providers.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	result := harness.Run(t, harness.OnCluster(lab.Kubeconfig, file)...)
	if result.ExitCode != 0 {
		t.Fatalf("exit code %d\n%s", result.ExitCode, result.Output)
	}
	script := filepath.Join(harness.Root(), "conformance", "python", "order.py")
	code, out, errors := program(t, nil, "", python, script, dir)
	fmt.Print(out)
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, out, errors)
	}
	source, err := os.ReadFile(filepath.Join(harness.Root(), "api", "src", "vim", "op.rs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`request\("(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		if !strings.Contains(out+" ", " "+found[1]+" ") && !strings.Contains(out, " "+found[1]+"\n") && unsent[found[1]] == "" {
			t.Errorf("%s was never sent, so its order is not checked; say why in unsent", found[1])
		}
	}
	swapped(t, python, script, dir)
}

// swapped proves that the check sees a wrong order: a login with user and password exchanged.
func swapped(t *testing.T, python, script, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.xml"))
	if err != nil {
		t.Fatal(err)
	}
	login := regexp.MustCompile(`(<userName>.*</userName>)(<password>.*</password>)`)
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !login.Match(body) {
			continue
		}
		wrong := t.TempDir()
		if err := os.WriteFile(filepath.Join(wrong, "login.xml"), login.ReplaceAll(body, []byte("$2$1")), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, _ := program(t, nil, "", python, script, wrong)
		if code == 0 || !strings.Contains(out, "Login: userName comes after password") {
			t.Errorf("a wrong order was not seen: exit %d\n%s", code, out)
		}
		return
	}
	t.Error("no login was recorded")
}
