package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What the inventory shows of each platform that both play. Of OpenShift's it is the cluster's own objects.
var inventoryCollections = map[string][]string{
	"vsphere":   {"datacenters", "clusters", "hosts", "networks", "datastores", "folders", "vms", "tree/vm", "tree/host"},
	"ovirt":     {"datacenters", "clusters", "hosts", "networks", "storagedomains", "nicprofiles", "diskprofiles", "disks", "servercpus", "vms", "tree/cluster"},
	"openstack": {"regions", "projects", "flavors", "images", "volumetypes", "volumes", "snapshots", "networks", "subnets", "vms", "tree/project"},
	"openshift": {"namespaces", "storageclasses", "networkattachmentdefinitions", "vms", "instancetypes", "clusterinstancetypes",
		"persistentvolumeclaims", "datavolumes", "kubevirts"},
}

// How often something was seen by the inventory, and where its link leads: chance.
var chance = []string{"revision", "revisionValidated", "version", "selfLink", "object"}

// inventory is what of the run's Providers the inventory shows, with all details: `inventory | type/collection name`.
// What the run itself made is left out: how far it is differs from moment to moment.
func (s *forkliftSide) inventory(t *testing.T, run string, w *words) map[string]any {
	t.Helper()
	code, route, err := s.ask("GET", "/apis/route.openshift.io/v1/namespaces/openshift-mtv/routes/forklift-inventory", nil)
	if err != nil || code != http.StatusOK {
		t.Fatalf("no route to the inventory: %d, %v", code, err)
	}
	base := "https://" + text(route, "spec.host")
	_, list, err := s.ask("GET", "/apis/forklift.konveyor.io/v1beta1/providers", nil)
	if err != nil {
		t.Fatal(err)
	}
	world := map[string]any{}
	items, _ := list["items"].([]any)
	for _, item := range items {
		kind, name := text(item, "spec.type"), text(item, "metadata.name")
		if name != run+"-"+kind {
			continue
		}
		provider := fmt.Sprintf("%s/providers/%s/%s", base, kind, text(item, "metadata.uid"))
		_, whole := s.read(t, provider)
		counts, _ := shown(w, whole).(map[string]any)
		if kind == "openshift" {
			// Of the migrated ones, too.
			delete(counts, "vmCount")
		}
		world["inventory | "+kind+" (provider)"] = counts
		for _, collection := range inventoryCollections[kind] {
			head := "inventory | " + kind + "/" + collection
			code, all := s.read(t, provider+"/"+collection+"?detail=all")
			world[head+" (answer)"] = map[string]any{"code": code}
			objects, _ := all.([]any)
			named := map[string][]any{}
			for _, object := range objects {
				if name := text(object, "name"); !strings.Contains(name, run) && w.of(name) == name {
					named[name] = append(named[name], shown(w, object))
				}
			}
			for name, same := range named {
				sortByText(same)
				for i, object := range same {
					world[fmt.Sprintf("%s %s%s", head, name, strings.Repeat("'", i))] = object
				}
			}
			for _, detail := range []string{"0", "1"} {
				if _, some := s.read(t, provider+"/"+collection+"?detail="+detail); len(objects) > 0 {
					first, _ := some.([]any)
					world[head+" (detail "+detail+")"] = keysOf(first)
				}
			}
		}
	}
	return world
}

// read asks the inventory.
func (s *forkliftSide) read(t *testing.T, url string) (int, any) {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if response.StatusCode == http.StatusOK {
		if err := json.Unmarshal(raw, &value); err != nil {
			t.Fatalf("%s: %v", url, err)
		}
	}
	return response.StatusCode, value
}

func shown(w *words, object any) any {
	kept, _ := w.normal(object).(map[string]any)
	for _, key := range chance {
		delete(kept, key)
	}
	return kept
}

// keysOf are the keys that any of the objects has.
func keysOf(objects []any) any {
	keys := map[string]any{}
	for _, object := range objects {
		all, _ := object.(map[string]any)
		for key := range all {
			keys[key] = true
		}
	}
	return keys
}
