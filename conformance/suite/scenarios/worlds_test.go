package scenarios

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"mtv-matrix/conformance/suite/harness"
	"mtv-matrix/conformance/suite/vcsim"
)

// What the inventory shows of a vCenter.
var shown = []string{"datacenters", "clusters", "hosts", "datastores", "networks", "folders", "vms"}

// Keys whose values are times, counts of changes, or identities of the endpoint.
var passing = []string{"revision", "revisionValidated", "selfLink", "thumbprint", "timezone", "changeId"}

// What of a vCenter a world does not hold, or vcsim does not tell, by path; why.
var unheld = []struct{ path, why string }{
	{`^/hosts/[^/]+/hostScsiDisks`, "a recorded world holds no LUNs: its hosts see those of the lab's own datastores"},
	{`^/clusters/[^/]+/drs`, "a world has one datacenter with one cluster, which balances its hosts"},
	{`^/folders/templates$`, "the lab has a folder for templates"},
	{`^/folders/vm/children$`, "that folder"},
	{`^/networks/mtv-dvs$|^/folders/network/children|/dvSwitch/`, "the lab has one distributed switch, of which its port groups are; vcsim's is in no list"},
	{`^/networks/[^/]+/vlanId$`, "an uplink's is none or 0"},
	{`^/(hosts|clusters)/[^/]+/networks$`, "every host of the lab has every network; a network of vcsim's that no host has is there as well"},
	{`^/hosts/[^/]+/(cpuCores|memoryBytes|managementServerIp|productVersion|networkAdapters/.*|networking/.*)$`, "a world names its hosts, and they are the lab's machines"},
	{`^/datastores/[^/]+/backingDevicesNames$`, "vcsim's datastores lie on no device"},
	{`^/vms/[^/]+/(disks/\d+/(key|controllerKey)|nics/\d+/deviceKey|guestNetworks/\d+/deviceConfigId)$`, "keys of devices are ids"},
	{`^/vms/[^/]+/(guestDisks|guestNameFromVmwareTools|guestId|toolsVersionStatus2|storageUsed|guestNetworks/\d+/origin)$`, "vcsim has no guests: what tools tell of them, and what they fill, is empty or the configured word"},
}

// A path's datacenter, and its cluster.
var home = regexp.MustCompile(`^/(DC0|Datacenter)(/host/(DC0_C0|Cluster))?`)

var uuid = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// inventoried is a lab whose MTV has a Provider.
type inventoried struct {
	lab    *harness.Lab
	client *http.Client
}

func (i *inventoried) ask(t *testing.T, method, url string, body any) (int, any) {
	t.Helper()
	sent, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+i.lab.Token)
	request.Header.Set("Content-Type", "application/json")
	response, err := i.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	_ = json.Unmarshal(raw, &value)
	return response.StatusCode, value
}

func at(value any, path ...string) string {
	for _, key := range path {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	text, _ := value.(string)
	return text
}

// inventory makes a Provider of this vCenter and returns what MTV's inventory shows of it, once it shows VMs.
func inventory(t *testing.T, lab *harness.Lab, url, user, password string) map[string][]any {
	t.Helper()
	own := &inventoried{lab, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
	made := func(path string, object any) any {
		code, answer := own.ask(t, "POST", lab.URL+path, object)
		if code >= 300 {
			t.Fatalf("%s: %d %v", path, code, answer)
		}
		return answer
	}
	made("/api/v1/namespaces/openshift-mtv/secrets", map[string]any{"apiVersion": "v1", "kind": "Secret",
		"metadata":   map[string]any{"name": "recorded"},
		"stringData": map[string]any{"url": url, "user": user, "password": password, "insecureSkipVerify": "true"}})
	provider := made("/apis/forklift.konveyor.io/v1beta1/namespaces/openshift-mtv/providers", map[string]any{
		"apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Provider", "metadata": map[string]any{"name": "recorded"},
		"spec": map[string]any{"type": "vsphere", "url": url,
			"secret": map[string]any{"namespace": "openshift-mtv", "name": "recorded"}}})
	_, route := own.ask(t, "GET", lab.URL+"/apis/route.openshift.io/v1/namespaces/openshift-mtv/routes/forklift-inventory", nil)
	base := fmt.Sprintf("https://%s/providers/vsphere/%s/", at(route, "spec", "host"), at(provider, "metadata", "uid"))
	list := func(collection string) []any {
		_, answer := own.ask(t, "GET", base+collection+"?detail=all", nil)
		items, _ := answer.([]any)
		return items
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if len(list("vms")) == 0 {
			continue
		}
		// What comes with the collector's next round is there then, too.
		time.Sleep(2 * time.Second)
		all := map[string][]any{}
		for _, collection := range shown {
			all[collection] = list(collection)
		}
		return all
	}
	t.Fatalf("MTV's inventory shows no VM of %s", url)
	return nil
}

// plain is the same without ids and times: the name of a thing stands for its id, so that references are compared.
func plain(all map[string][]any) map[string]any {
	names := map[string]string{}
	for collection, items := range all {
		for _, item := range items {
			for _, key := range []string{"id", "key"} {
				if id := at(item, key); id != "" {
					name := at(item, "name")
					// There is one of each, which is called as its platform calls it.
					if collection == "datacenters" || collection == "clusters" {
						name = "the one"
					}
					names[id] = collection + ":" + name
				}
			}
		}
	}
	var walk func(key string, value any) any
	walk = func(key string, value any) any {
		switch value := value.(type) {
		case string:
			if name, known := names[value]; known {
				return name
			}
			if key == "id" {
				return "*"
			}
			return uuid.ReplaceAllString(home.ReplaceAllString(value, "/the one"), "uuid")
		case []any:
			items := make([]any, 0, len(value))
			for _, item := range value {
				items = append(items, walk("", item))
			}
			if key != "disks" && key != "nics" {
				sortByText(items)
			}
			return items
		case map[string]any:
			object := map[string]any{}
			for key, field := range value {
				if !slices.Contains(passing, key) {
					object[key] = walk(key, field)
				}
			}
			return object
		}
		return value
	}
	out := map[string]any{}
	for collection, items := range all {
		named := map[string]any{}
		walked, _ := walk("", items).([]any)
		for _, item := range walked {
			name := at(item, "name")
			if object, _ := item.(map[string]any); collection == "datacenters" || collection == "clusters" {
				name, object["name"] = "the one", "the one"
			}
			for named[name] != nil {
				name += "'"
			}
			named[name] = item
		}
		out[collection] = named
	}
	return out
}

func sortByText(items []any) {
	text := func(value any) string {
		written, _ := json.Marshal(value)
		return string(written)
	}
	sort.Slice(items, func(i, j int) bool { return text(items[i]) < text(items[j]) })
}

// unlike are the places where two values differ.
func unlike(path string, one, other any) []string {
	switch a := one.(type) {
	case map[string]any:
		if b, same := other.(map[string]any); same {
			var found []string
			keys := map[string]bool{}
			for key := range a {
				keys[key] = true
			}
			for key := range b {
				keys[key] = true
			}
			for key := range keys {
				found = append(found, unlike(path+"/"+key, a[key], b[key])...)
			}
			sort.Strings(found)
			return found
		}
	case []any:
		if b, same := other.([]any); same && len(a) == len(b) {
			var found []string
			for i := range a {
				found = append(found, unlike(fmt.Sprintf("%s/%d", path, i), a[i], b[i])...)
			}
			return found
		}
	}
	first, _ := json.Marshal(one)
	second, _ := json.Marshal(other)
	if bytes.Equal(first, second) {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s | %s", path, first, second)}
}

func TestAWorldRecordedFromVcsimPlayedAgainHasTheSameInventory(t *testing.T) {
	t.Parallel()
	binary := harness.Binary(t)
	sim := vcsim.Start(t, harness.ServerCertificate(t))
	first := harness.StartLab(t, "--clock-scale", "1500")
	before := inventory(t, first, sim.URL, vcsim.User, vcsim.Password)

	world := filepath.Join(t.TempDir(), "world.yaml")
	record := exec.Command(binary, "--providers-json", first.Providers, "record", "world", "--inventory", "recorded", "--out", world)
	// The variables of this suite are no settings of the binary.
	record.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "KUBECONFIG=" + first.Kubeconfig}
	if said, err := record.CombinedOutput(); err != nil {
		t.Fatalf("record world: %v\n%s", err, said)
	}

	second := harness.StartLab(t, "--clock-scale", "1500", "--world", world)
	text, err := os.ReadFile(second.Providers)
	if err != nil {
		t.Fatal(err)
	}
	var profiles map[string]map[string]any
	if err := json.Unmarshal(text, &profiles); err != nil {
		t.Fatal(err)
	}
	own := profiles["vsphere"]
	after := inventory(t, second, at(own, "api_url"), at(own, "username"), at(own, "password"))

	if len(before["vms"]) < 2 {
		t.Fatalf("only %d VMs were compared", len(before["vms"]))
	}
	found := slices.DeleteFunc(unlike("", plain(before), plain(after)), func(line string) bool {
		path, _, _ := strings.Cut(line, ": ")
		return slices.ContainsFunc(unheld, func(one struct{ path, why string }) bool {
			return regexp.MustCompile(one.path).MatchString(path)
		})
	})
	t.Logf("%d VMs, %d hosts, %d datastores, %d networks, %d folders compared", len(before["vms"]), len(before["hosts"]),
		len(before["datastores"]), len(before["networks"]), len(before["folders"]))
	if len(found) > 0 {
		t.Errorf("%d differences\n%s", len(found), strings.Join(found[:min(len(found), 400)], "\n"))
	}
}
