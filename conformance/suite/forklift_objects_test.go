package suite

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// What is compared: everything that MTV writes, and what others make of it.
var forkliftKinds = map[string][]string{
	"/apis/forklift.konveyor.io/v1beta1/": {"plans", "migrations", "storagemaps", "networkmaps", "providers", "hooks", "conversions",
		"ovirtvolumepopulators", "openstackvolumepopulators"},
	"/apis/kubevirt.io/v1/":          {"virtualmachines"},
	"/apis/cdi.kubevirt.io/v1beta1/": {"datavolumes"},
	"/apis/batch/v1/":                {"jobs"},
	"/api/v1/":                       {"persistentvolumeclaims", "secrets", "configmaps", "pods"},
}

// ask sends JSON, where there is some, and reads an object.
func (s *side) ask(method, path string, body any) (int, map[string]any, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	request, err := http.NewRequest(method, s.url+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	if text, err = io.ReadAll(response.Body); err != nil {
		return 0, nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return response.StatusCode, nil, fmt.Errorf("%s %s: %d: %s", method, path, response.StatusCode, text)
	}
	return response.StatusCode, object, nil
}

// sighting is an object as it was last seen.
type sighting struct {
	kind   string
	object map[string]any
	gone   bool
}

// keeper watches a cluster, so that it also knows what did not stay, and each object as it was last.
type keeper struct {
	side *side
	lock sync.Mutex
	seen map[string]*sighting
	stop context.CancelFunc
	done sync.WaitGroup
}

func watchWorld(s *side) *keeper {
	ctx, stop := context.WithCancel(context.Background())
	k := &keeper{side: s, seen: map[string]*sighting{}, stop: stop}
	for group, plurals := range forkliftKinds {
		for _, plural := range plurals {
			k.done.Go(func() {
				for ctx.Err() == nil {
					k.follow(ctx, group+plural)
					select {
					case <-ctx.Done():
					case <-time.After(200 * time.Millisecond):
					}
				}
			})
		}
	}
	return k
}

// end looks a last time and returns what was ever seen.
func (k *keeper) end() map[string]*sighting {
	time.Sleep(time.Second)
	k.stop()
	k.done.Wait()
	return k.seen
}

// follow a collection from now on, for as long as the server tells of it.
func (k *keeper) follow(ctx context.Context, path string) {
	code, list, err := k.side.ask("GET", path, nil)
	// A kind that only one of the two has is seen as objects that only one of the two has.
	if err != nil || code != http.StatusOK {
		return
	}
	kind := strings.TrimSuffix(text(list, "kind"), "List")
	now := map[string]bool{}
	items, _ := list["items"].([]any)
	for _, item := range items {
		object, _ := item.(map[string]any)
		now[text(object, "metadata.uid")] = true
		k.keep(kind, object, false)
	}
	k.lock.Lock()
	for uid, one := range k.seen {
		one.gone = one.gone || one.kind == kind && !now[uid]
	}
	k.lock.Unlock()
	query := fmt.Sprintf("%s?watch=true&resourceVersion=%s", path, text(list, "metadata.resourceVersion"))
	request, err := http.NewRequestWithContext(ctx, "GET", k.side.url+query, nil)
	if err != nil {
		return
	}
	request.Header.Set("Authorization", "Bearer "+k.side.token)
	response, err := k.side.client.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	events := json.NewDecoder(response.Body)
	for {
		var event struct {
			Type   string         `json:"type"`
			Object map[string]any `json:"object"`
		}
		if events.Decode(&event) != nil || event.Type == "ERROR" {
			return
		}
		k.keep(kind, event.Object, event.Type == "DELETED")
	}
}

func (k *keeper) keep(kind string, object map[string]any, gone bool) {
	if ofTheCluster(kind, object) {
		return
	}
	k.lock.Lock()
	defer k.lock.Unlock()
	uid := text(object, "metadata.uid")
	known := k.seen[uid]
	// One that is on its way out is kept as it was before.
	leaves := gone || text(object, "metadata.deletionTimestamp") != ""
	if known != nil && leaves {
		known.gone = known.gone || gone
		return
	}
	k.seen[uid] = &sighting{kind: kind, object: object, gone: gone}
}

// ofTheCluster tells the pods of CDI, of the populators and of KubeVirt. They are no work of MTV's: beside the real Forklift the lab
// copies without them, and for its own MTV it makes some that last for a moment, to be killed.
func ofTheCluster(kind string, object map[string]any) bool {
	name := text(object, "metadata.name")
	if kind == "ConfigMap" && name == "kube-root-ca.crt" {
		return true // every namespace has it
	}
	of := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	return kind == "Pod" && (of("importer-") || of("populate-") || of("virt-launcher-"))
}

func text(object any, path string) string {
	found, _ := at(object, strings.Split(path, "."))
	word, _ := found.(string)
	return word
}

// words is what differs from run to run, and what stands for it. The order matters.
type words struct {
	run   string
	names []string
	bases map[string]string
	// homes are the namespaces of the run's Plans and their targets, by cell.
	homes map[string]string
}

var (
	patterns = []struct {
		find *regexp.Regexp
		put  string
	}{
		{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "<time>"},
		{regexp.MustCompile(`[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}`), "<uuid>"},
		// As much of one as KubeVirt takes for a disk's serial.
		{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]\b`), "<uuid of 20>"},
		// A generated end without a dash, and one that the API server cut the rest away for.
		{regexp.MustCompile(`(<uuid>)[a-z0-9]{5}\b`), "$1~"},
		// The end of a VM's name, in names of its disks.
		{regexp.MustCompile(`-[a-z0-9]{4}(-disk-\d)\b`), "-<end>$1"},
		{regexp.MustCompile(`([0-9a-f]{2}[ -]){15}[0-9a-f]{2}`), "<uuid>"},
		{regexp.MustCompile(`(?i)([0-9a-f]{2}:){19,31}[0-9a-f]{2}`), "<fingerprint>"},
		{regexp.MustCompile(`(?i)([0-9a-f]{2}:){5}[0-9a-f]{2}`), "<mac>"},
		{regexp.MustCompile(`\b(vm|snapshot|task)-\d+\b`), "<$1>"},
		{regexp.MustCompile(`127\.0\.0\.\d+(:\d+)?`), "<address>"},
		{regexp.MustCompile(`\b10\.129\.\d+\.\d+\b`), "<pod address>"},
		{regexp.MustCompile(`sha256~lab-[a-z0-9]+`), "<token>"},
		{regexp.MustCompile(`(?s)-----BEGIN .*-----END [A-Z ]+-----\s*`), "<pem>"},
		{regexp.MustCompile(`ssh-rsa \S+`), "<RSA key>"},
		{regexp.MustCompile(`ecdsa-sha2-nistp256 \S+`), "<EC key>"},
		{regexp.MustCompile(`password: "[a-z0-9]{20}"`), "password: <password>"},
		// The runner's networks: by cell, and one more where the scenario wants two.
		{regexp.MustCompile(`\bmm[a-z0-9]{8}-(\d)\b`), "<nad>-$1"},
		// What the comprehensive scenarios name with a random end of their own.
		{regexp.MustCompile(`\b(mtv-comprehensive-[a-z]+)-[a-z0-9]{8}\b`), "$1"},
	}
	dropped = map[string]bool{
		"uid": true, "resourceVersion": true, "generation": true, "creationTimestamp": true, "managedFields": true,
		"deletionTimestamp": true, "deletionGracePeriodSeconds": true, "observedGeneration": true, "desiredGeneration": true,
	}
	// Lists whose entries have names: an entry more shall not move the others.
	keyed = map[string]string{
		"conditions": "type", "pipeline": "name", "env": "name", "containers": "name", "initContainers": "name",
		"ownerReferences": "kind", "containerStatuses": "name", "initContainerStatuses": "name", "references": "name",
	}
)

// Lists whose order is chance on one platform or another. Where it means something, names tell it.
var unordered = map[string]bool{"tasks": true, "disks": true, "volumes": true}

func newWords(run string, seen map[string]*sighting) *words {
	w := &words{run: run, bases: map[string]string{}, homes: map[string]string{run: "run"}}
	random := regexp.MustCompile(`^(.*)-[a-z0-9]{6}$`)
	for _, one := range seen {
		// A name of its own wins over the one to be generated.
		base, name := text(one.object, "metadata.generateName"), text(one.object, "metadata.name")
		if base != "" && strings.HasPrefix(name, base) {
			w.bases[name] = base + "~"
		}
		namespace := text(one.object, "metadata.namespace")
		if one.kind != "Plan" || !strings.HasPrefix(namespace, run+"-") {
			continue
		}
		cell := random.ReplaceAllString(strings.TrimPrefix(namespace, run+"-"), "$1")
		w.homes[namespace], w.homes[text(one.object, "spec.targetNamespace")] = cell, cell
		w.bases[namespace] = "RUN-" + cell
		// VMs end in something random; so does a clone's disk, which is named after it.
		vms, _ := at(one.object, []string{"status", "migration", "vms"})
		list, _ := vms.([]any)
		for _, vm := range list {
			for _, key := range []string{"name", "newName"} {
				if name := text(vm, key); random.MatchString(name) {
					w.bases[name] = random.ReplaceAllString(name, "$1")
				}
			}
		}
	}
	for name := range w.bases {
		w.names = append(w.names, name)
	}
	sort.Slice(w.names, func(a, b int) bool {
		if len(w.names[a]) != len(w.names[b]) {
			return len(w.names[a]) > len(w.names[b])
		}
		return w.names[a] < w.names[b]
	})
	return w
}

func (w *words) of(value string) string {
	// What is generated may be made from a name that is generated.
	for range 2 {
		for _, name := range w.names {
			value = strings.ReplaceAll(value, name, w.bases[name])
		}
	}
	value = strings.ReplaceAll(value, w.run, "RUN")
	for _, pattern := range patterns {
		value = pattern.find.ReplaceAllString(value, pattern.put)
	}
	return value
}

func (w *words) normal(value any) any {
	switch v := value.(type) {
	case string:
		return w.of(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = w.normal(v[i])
		}
		return list
	case map[string]any:
		kept := map[string]any{}
		for key, inner := range v {
			name := w.of(key)
			// The runner's own marks.
			if dropped[key] || strings.HasPrefix(key, "mtv-matrix.io/") {
				continue
			}
			kept[name] = settledValue(key, w.normal(inner))
		}
		nameNetworks(kept)
		return kept
	}
	return value
}

// settledValue takes out of a field what is chance: the order of a list, how many precopies there were.
func settledValue(key string, value any) any {
	list, isList := value.([]any)
	switch {
	case key == "secretResourceVersion":
		return "<version>"
	case key == "successes" || key == "Precopy":
		return "<count>"
	case key == "precopies" && len(list) > 2:
		return []any{list[0], list[len(list)-1]}
	case isList && keyed[key] != "":
		return byName(list, keyed[key])
	case isList && unordered[key]:
		sortByText(list)
	}
	return value
}

func sortByText(list []any) {
	text := func(i int) string {
		text, _ := json.Marshal(list[i])
		return string(text)
	}
	sort.SliceStable(list, func(a, b int) bool { return text(a) < text(b) })
}

// nameNetworks calls networks of a VM's template, and the interfaces on them, by where they lead:
// MTV numbers OpenStack's in any order.
func nameNetworks(template map[string]any) {
	networks, _ := template["networks"].([]any)
	found, _ := at(template, []string{"domain", "devices", "interfaces"})
	interfaces, _ := found.([]any)
	names := map[any]any{}
	for _, one := range networks {
		network, _ := one.(map[string]any)
		before := network["name"]
		delete(network, "name")
		leads, _ := json.Marshal(network)
		names[before], network["name"] = string(leads), string(leads)
	}
	for _, one := range interfaces {
		if own, _ := one.(map[string]any); names[own["name"]] != nil {
			own["name"] = names[own["name"]]
		}
	}
	sortByText(networks)
	sortByText(interfaces)
}

// byName makes a list to an object, unless a name comes twice.
func byName(list []any, by string) any {
	named := map[string]any{}
	for _, entry := range list {
		name := text(entry, by)
		if _, twice := named[name]; twice || name == "" {
			return list
		}
		named[name] = entry
	}
	return named
}

// world is what of a run is compared: normalised, by `cell | kind name`.
func (w *words) world(seen map[string]*sighting) map[string]any {
	type entry struct {
		order string
		value any
	}
	groups := map[string][]entry{}
	for _, one := range seen {
		cell, ours := w.cell(one.object)
		if !ours {
			continue
		}
		object := one.object
		if data, _ := at(object, []string{"data"}); one.kind == "Secret" && data != nil {
			object["data"] = decoded(data)
		}
		if data, _ := at(object, []string{"binaryData"}); one.kind == "ConfigMap" && data != nil {
			object["binaryData"] = decoded(data)
		}
		value, _ := w.normal(object).(map[string]any)
		delete(value, "apiVersion")
		// How far it was when it was last seen is chance, and Jobs and pods are driven by others than MTV.
		if one.gone || one.kind == "Job" || one.kind == "Pod" {
			delete(value, "status")
		}
		where := fmt.Sprintf("%s | %s %s", cell, one.kind, w.role(one))
		metadata, _ := value["metadata"].(map[string]any)
		if conditions, _ := at(value, []string{"status", "conditions"}); text(conditions, "Failed.type") != "" {
			// A failed Plan is looked at again and again, and the real one begins each time without it.
			delete(conditions.(map[string]any), "Ready")
		}
		if status, _ := value["status"].(map[string]any); one.kind == "VirtualMachine" && status["printableStatus"] == "Stopped" {
			// One that ran keeps what KubeVirt happened to see of its instance last.
			kept, _ := status["conditions"].(map[string]any)
			for _, kind := range []string{"AgentConnected", "LiveMigratable", "StorageLiveMigratable"} {
				delete(kept, kind)
			}
		}
		if spec, _ := value["spec"].(map[string]any); one.kind == "NetworkMap" {
			// The runner's: by the order in which a source lists its NICs, which is chance on OpenStack.
			delete(spec, "map")
		}
		storage, _ := at(value, []string{"spec", "resources", "requests", "storage"})
		index, _ := at(value, []string{"metadata", "annotations", "forklift.konveyor.io/disk-index"})
		order, _ := json.Marshal([]any{bytesOf(storage), index, metadata["labels"], metadata["annotations"],
			metadata["ownerReferences"], metadata["name"]})
		groups[where] = append(groups[where], entry{string(order), value})
	}
	all := map[string]any{}
	for where, entries := range groups {
		sort.Slice(entries, func(a, b int) bool { return entries[a].order < entries[b].order })
		if strings.Contains(where, " | Pod ") {
			// Those of MTV's that end by themselves come and go: how many stand at this moment is chance.
			entries = entries[:1]
		}
		for i, each := range entries {
			if len(entries) > 1 {
				all[fmt.Sprintf("%s (%d)", where, i+1)] = each.value
			} else {
				all[where] = each.value
			}
		}
	}
	return all
}

// bytesOf a quantity, so that disks of both sides are paired by their size.
func bytesOf(quantity any) string {
	word, _ := quantity.(string)
	parsed, err := resource.ParseQuantity(word)
	if err != nil {
		return word
	}
	return fmt.Sprintf("%020d", parsed.Value())
}

// role pairs the objects of both sides: by name, and where MTV's way to name them differs, by kind.
func (w *words) role(one *sighting) string {
	switch one.kind {
	case "PersistentVolumeClaim", "DataVolume":
		return "disk"
	case "VirtualMachine":
		return "vm"
	}
	return w.of(text(one.object, "metadata.name"))
}

// cell is whose object it is; false for what MTV has nothing to do with.
func (w *words) cell(object map[string]any) (string, bool) {
	name := text(object, "metadata.name")
	owner, _ := at(object, []string{"metadata", "ownerReferences"})
	owners, _ := owner.([]any)
	switch {
	case name == "mtv-matrix-run", strings.HasPrefix(name, "negative-"):
		return "", false
	case strings.HasPrefix(name, "vddk-validator-negative-"):
		// One each, at some time.
		return "", false
	case len(owners) > 0 && text(owners[0], "kind") == "Job":
		// Pods of Jobs come from Kubernetes.
		return "", false
	}
	cell, ours := w.homes[text(object, "metadata.namespace")]
	return cell, ours
}

func decoded(data any) any {
	plain := map[string]any{}
	all, _ := data.(map[string]any)
	for key, value := range all {
		word, _ := value.(string)
		if raw, err := base64.StdEncoding.DecodeString(word); err == nil {
			word = string(raw)
		}
		plain[key] = word
	}
	return plain
}
