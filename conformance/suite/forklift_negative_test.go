package suite

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const forkliftAPI = "/apis/forklift.konveyor.io/v1beta1/namespaces/"

const (
	// How long conditions have to stay as they are before they count: the real one looks every three
	// seconds, and gives a connection some tries.
	settled = 9 * time.Second
	// For all of them together, which are made at once.
	settleLimit = 60 * time.Second
)

// negative is something that MTV must not take: a good object of the run with one thing changed.
type negative struct {
	name string
	// vsphere, ovirt or openstack.
	platform string
	// plans, providers, storagemaps, networkmaps or hooks.
	plural string
	change func(spec map[string]any)
	// Of the Provider's Secret: what is set, or removed where the value is empty.
	secret map[string]string
	// Types of conditions that stand or not by chance.
	chance []string
}

func set(path string, value any) func(map[string]any) {
	return func(spec map[string]any) {
		keys := strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			inner, _ := spec[key].(map[string]any)
			if inner == nil {
				inner = map[string]any{}
				spec[key] = inner
			}
			spec = inner
		}
		spec[keys[len(keys)-1]] = value
	}
}

func unset(key string) func(map[string]any) {
	return func(spec map[string]any) { delete(spec, key) }
}

// ofVM changes the plan's only VM.
func ofVM(key string, value any) func(map[string]any) {
	return func(spec map[string]any) {
		vms, _ := spec["vms"].([]any)
		vm, _ := vms[0].(map[string]any)
		vm[key] = value
	}
}

// ofRow changes the first pair of a map.
func ofRow(part string, value any) func(map[string]any) {
	return func(spec map[string]any) {
		rows, _ := spec["map"].([]any)
		row, _ := rows[0].(map[string]any)
		row[part] = value
	}
}

func same(map[string]any) {}

var nowhere = map[string]any{"namespace": "default", "name": "nowhere"}

var forkliftNegatives = []negative{
	{name: "bad password", platform: "vsphere", plural: "providers", change: same, secret: map[string]string{"password": "wrong"}},
	{name: "bad password", platform: "ovirt", plural: "providers", change: same, secret: map[string]string{"password": "wrong"}},
	{name: "bad password", platform: "openstack", plural: "providers", change: same, secret: map[string]string{"password": "wrong"}},
	{name: "no password", platform: "vsphere", plural: "providers", change: same, secret: map[string]string{"password": ""}},
	{name: "no password", platform: "ovirt", plural: "providers", change: same, secret: map[string]string{"password": ""}},
	{name: "another CA", platform: "ovirt", plural: "providers", change: same, secret: map[string]string{"cacert": "none"}},
	{name: "unreachable", platform: "vsphere", plural: "providers", change: set("url", "https://127.0.0.1:1/sdk"), secret: map[string]string{"url": "https://127.0.0.1:1/sdk"}},
	{name: "unreachable", platform: "ovirt", plural: "providers", change: set("url", "https://127.0.0.1:1/ovirt-engine/api"), secret: map[string]string{"url": "https://127.0.0.1:1/ovirt-engine/api"}},
	{name: "unreachable", platform: "openstack", plural: "providers", change: set("url", "https://127.0.0.1:1/v3"), secret: map[string]string{"url": "https://127.0.0.1:1/v3"}},
	{name: "no secret", platform: "vsphere", plural: "providers", change: set("secret", nowhere)},
	{name: "unknown type", platform: "vsphere", plural: "providers", change: set("type", "xen")},
	{name: "no url", platform: "vsphere", plural: "providers", change: unset("url")},

	{name: "unknown datastore", platform: "vsphere", plural: "storagemaps", change: ofRow("source", map[string]any{"id": "datastore-999"})},
	{name: "datastore of unknown name", platform: "vsphere", plural: "storagemaps", change: ofRow("source", map[string]any{"name": "nowhere"})},
	{name: "unknown storage class", platform: "vsphere", plural: "storagemaps", change: ofRow("destination", map[string]any{"storageClass": "nowhere"})},
	{name: "unknown source provider", platform: "vsphere", plural: "storagemaps", change: set("provider.source", nowhere)},
	{name: "unknown network", platform: "vsphere", plural: "networkmaps", change: ofRow("source", map[string]any{"id": "network-999"})},
	{name: "unknown NAD", platform: "vsphere", plural: "networkmaps", change: ofRow("destination", map[string]any{"type": "multus", "namespace": "default", "name": "nowhere"})},
	{name: "unknown type of destination", platform: "vsphere", plural: "networkmaps", change: ofRow("destination", map[string]any{"type": "vlan"})},
	{name: "unknown network", platform: "ovirt", plural: "networkmaps", change: ofRow("source", map[string]any{"id": "nowhere"})},

	{name: "no image", platform: "vsphere", plural: "hooks", change: unset("image")},
	{name: "playbook that is no base64", platform: "vsphere", plural: "hooks", change: set("playbook", "- hosts: all")},

	{name: "as it was", platform: "vsphere", plural: "plans", change: same},
	{name: "taken target name", platform: "vsphere", plural: "plans", change: ofVM("targetName", "$TAKEN")},
	{name: "bad target name", platform: "vsphere", plural: "plans", change: ofVM("targetName", "Upper_Case")},
	{name: "unknown VM", platform: "vsphere", plural: "plans", change: ofVM("id", "vm-999999")},
	{name: "no VMs", platform: "vsphere", plural: "plans", change: set("vms", []any{})},
	{name: "bad PVC template", platform: "vsphere", plural: "plans", change: set("pvcNameTemplate", "{{ .Nothing }}")},
	{name: "PVC template that is no name", platform: "vsphere", plural: "plans", change: set("pvcNameTemplate", "Upper_{{ .DiskIndex }}")},
	{name: "half a conversion storage class", platform: "vsphere", plural: "plans", change: set("conversionTempStorageClass", "standard")},
	{name: "type live", platform: "vsphere", plural: "plans", change: set("type", "live")},
	{name: "unknown target power state", platform: "vsphere", plural: "plans", change: set("targetPowerState", "maybe")},
	{name: "unknown source provider", platform: "vsphere", plural: "plans", change: set("provider.source", nowhere)},
	{name: "unknown destination provider", platform: "vsphere", plural: "plans", change: set("provider.destination", nowhere)},
	{name: "unknown storage map", platform: "vsphere", plural: "plans", change: set("map.storage", nowhere)},
	{name: "unknown network map", platform: "vsphere", plural: "plans", change: set("map.network", nowhere)},
	{name: "missing hook", platform: "vsphere", plural: "plans", change: ofVM("hooks", []any{map[string]any{"step": "PreHook", "hook": nowhere}})},
	{name: "bad target namespace", platform: "vsphere", plural: "plans", change: set("targetNamespace", "Upper_Case")},
	{name: "warm", platform: "openstack", plural: "plans", change: set("warm", true)},
	{name: "static addresses on the pod network", platform: "vsphere", plural: "plans", change: set("preserveStaticIPs", true)},
	// It stays as it was when it was seen to be archived: how far the look at the VDDK image was then is chance.
	{name: "archived", platform: "vsphere", plural: "plans", change: set("archived", true),
		chance: []string{"ValidatingVDDK", "VDDKInitImageNotReady"}},
}

// slug makes the name of the object.
func (n negative) slug() string {
	return "negative-" + n.platform + "-" + strings.ReplaceAll(strings.ToLower(n.name), " ", "-")
}

func (n negative) title() string {
	return fmt.Sprintf("%s %s: %s", strings.TrimSuffix(n.plural, "s"), n.platform, n.name)
}

// negatives makes all of them, waits until their conditions rest, and returns those, or the refusal.
func (s *forkliftSide) negatives(t *testing.T, run string) map[string]any {
	t.Helper()
	said, paths, chance := map[string]any{}, map[string]string{}, map[string][]string{}
	for _, one := range forkliftNegatives {
		chance[one.title()] = one.chance
		path, refused, err := s.make(run, one)
		switch {
		case err != nil:
			t.Errorf("%s: %v", one.title(), err)
		case refused != nil:
			said[one.title()] = refused
		default:
			paths[one.title()] = path
		}
	}
	deadline, since := time.Now().Add(settleLimit), time.Now()
	last := map[string]any{}
	for time.Now().Before(deadline) && time.Since(since) < settled {
		now := map[string]any{}
		for title, path := range paths {
			if _, object, err := s.ask("GET", path, nil); err == nil {
				now[title] = conditions(object, chance[title])
			}
		}
		if !reflect.DeepEqual(now, last) {
			last, since = now, time.Now()
		}
		time.Sleep(time.Second)
	}
	maps.Copy(said, last)
	return said
}

// conditions are those of an object, without their times and without those that are chance.
func conditions(object map[string]any, chance []string) map[string]any {
	list, _ := at(object, []string{"status", "conditions"})
	all, _ := list.([]any)
	kept := []any{}
	for _, each := range all {
		condition, _ := each.(map[string]any)
		delete(condition, "lastTransitionTime")
		if !slices.Contains(chance, text(condition, "type")) {
			kept = append(kept, each)
		}
	}
	return map[string]any{"conditions": kept, "answered": list != nil}
}

// make creates one; the second result is the server's refusal.
func (s *forkliftSide) make(run string, one negative) (string, any, error) {
	good, err := s.good(run, one)
	if err != nil {
		return "", nil, err
	}
	spec, _ := good["spec"].(map[string]any)
	one.change(spec)
	home := text(good, "metadata.namespace")
	if vms, _ := spec["vms"].([]any); len(vms) > 0 {
		if vm, _ := vms[0].(map[string]any); vm["targetName"] == "$TAKEN" {
			name, err := s.first("/apis/kubevirt.io/v1/namespaces/" + home + "/virtualmachines")
			if err != nil {
				return "", nil, err
			}
			vm["targetName"] = name
		}
	}
	if one.secret != nil {
		if err := s.secretFor(good, spec, one); err != nil {
			return "", nil, err
		}
	}
	object := map[string]any{"apiVersion": "forklift.konveyor.io/v1beta1", "kind": good["kind"],
		"metadata": map[string]any{"name": one.slug(), "namespace": home}, "spec": spec}
	path := forkliftAPI + home + "/" + one.plural
	code, answer, err := s.ask("POST", path, object)
	if err != nil {
		return "", nil, err
	}
	if code != http.StatusCreated {
		return "", map[string]any{"refused": map[string]any{"code": answer["code"], "reason": answer["reason"], "message": answer["message"]}}, nil
	}
	return path + "/" + one.slug(), nil, nil
}

// good is the run's own object of this kind on this platform.
func (s *forkliftSide) good(run string, one negative) (map[string]any, error) {
	_, list, err := s.ask("GET", "/apis/forklift.konveyor.io/v1beta1/"+one.plural, nil)
	if err != nil {
		return nil, err
	}
	items, _ := list["items"].([]any)
	scenario := "-sanity-cold-"
	if one.plural == "hooks" {
		scenario = "-post-hook-"
	}
	for _, item := range items {
		object, _ := item.(map[string]any)
		name, namespace := text(object, "metadata.name"), text(object, "metadata.namespace")
		fits := strings.HasPrefix(namespace, run+"-"+one.platform+scenario) && !strings.HasPrefix(name, "negative-")
		if one.plural == "providers" {
			fits = name == run+"-"+one.platform
		}
		if fits {
			object["kind"] = strings.TrimSuffix(text(list, "kind"), "List")
			return object, nil
		}
	}
	return nil, fmt.Errorf("the run has none of %s on %s", one.plural, one.platform)
}

func (s *forkliftSide) first(path string) (string, error) {
	_, list, err := s.ask("GET", path, nil)
	if err != nil {
		return "", err
	}
	items, _ := list["items"].([]any)
	if len(items) == 0 {
		return "", fmt.Errorf("there is none of %s", path)
	}
	return text(items[0], "metadata.name"), nil
}

// secretFor is the good Provider's Secret, changed.
func (s *forkliftSide) secretFor(good, spec map[string]any, one negative) error {
	namespace := text(good, "metadata.namespace")
	path := "/api/v1/namespaces/" + namespace + "/secrets"
	_, secret, err := s.ask("GET", path+"/"+text(spec, "secret.name"), nil)
	if err != nil {
		return err
	}
	data, _ := secret["data"].(map[string]any)
	for key, value := range one.secret {
		data[key] = base64.StdEncoding.EncodeToString([]byte(value))
		if value == "" {
			delete(data, key)
		}
	}
	metadata, _ := secret["metadata"].(map[string]any)
	fresh := map[string]any{"apiVersion": "v1", "kind": "Secret", "type": secret["type"], "data": data,
		"metadata": map[string]any{"name": one.slug(), "namespace": namespace, "labels": metadata["labels"]}}
	code, answer, err := s.ask("POST", path, fresh)
	if err == nil && code != http.StatusCreated {
		err = fmt.Errorf("the Secret was refused: %v", answer["message"])
	}
	set("secret", map[string]any{"namespace": namespace, "name": one.slug()})(spec)
	return err
}
