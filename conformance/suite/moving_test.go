package suite

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"mtv-matrix/conformance/suite/harness"
)

// moving is a migration in plain YAML, as MTV's guide has it: one VM of the lab's vCenter, from the project move-erp into
// the namespace erp, which nobody made.
const moving = `apiVersion: v1
kind: Secret
metadata: {name: vcenter}
stringData: {user: administrator@vsphere.local, password: lab-vsphere, insecureSkipVerify: "true"}
---
apiVersion: forklift.konveyor.io/v1beta1
kind: Provider
metadata: {name: vcenter}
spec: {type: vsphere, url: "URL", secret: {name: vcenter, namespace: move-erp}}
---
apiVersion: forklift.konveyor.io/v1beta1
kind: NetworkMap
metadata: {name: erp}
spec:
  provider: {source: {name: vcenter, namespace: move-erp}, destination: {name: host, namespace: openshift-mtv}}
  map: [{source: {name: VM Network}, destination: {type: pod}}]
---
apiVersion: forklift.konveyor.io/v1beta1
kind: StorageMap
metadata: {name: erp}
spec:
  provider: {source: {name: vcenter, namespace: move-erp}, destination: {name: host, namespace: openshift-mtv}}
  map: [{source: {name: datastore1}, destination: {storageClass: ocs-storagecluster-ceph-rbd-virtualization}}]
---
apiVersion: forklift.konveyor.io/v1beta1
kind: Plan
metadata: {name: erp}
spec:
  provider: {source: {name: vcenter, namespace: move-erp}, destination: {name: host, namespace: openshift-mtv}}
  map: {network: {name: erp, namespace: move-erp}, storage: {name: erp, namespace: move-erp}}
  targetNamespace: erp
  vms: [{name: mtv-tests-rhel8}]
`

const migration = `apiVersion: forklift.konveyor.io/v1beta1
kind: Migration
metadata: {name: erp}
spec: {plan: {name: erp, namespace: move-erp}}
`

// platformURL is where a platform of the lab is.
func platformURL(t *testing.T, lab *harness.Lab, name string) string {
	t.Helper()
	text, err := os.ReadFile(lab.Providers)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]struct {
		URL string `json:"api_url"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all[name].URL
}

// tool plays a client's commands in the lab; each must succeed and print what is wanted.
type tool struct {
	t     *testing.T
	path  string
	env   []string
	steps int
}

func (p *tool) run(want string, args ...string) string { p.t.Helper(); return p.fed("", want, args...) }

func (p *tool) fed(stdin, want string, args ...string) string {
	p.t.Helper()
	p.steps++
	code, out, errors := program(p.t, p.env, stdin, p.path, args...)
	if code != 0 || !strings.Contains(out+errors, want) {
		p.t.Fatalf("%s: exit %d, wanted %q\n%s%s", strings.Join(args, " "), code, want, out, errors)
	}
	return out
}

// refused is a command that must fail with these words.
func (p *tool) refused(want string, args ...string) {
	p.t.Helper()
	p.steps++
	code, out, errors := program(p.t, p.env, "", p.path, args...)
	if code == 0 || !strings.Contains(out+errors, want) {
		p.t.Fatalf("%s: exit %d, wanted a refusal with %q\n%s%s", strings.Join(args, " "), code, want, out, errors)
	}
}

// move plays the migration with a client that takes kubectl's commands, until the VM has arrived.
func move(p *tool, lab *harness.Lab) {
	p.t.Helper()
	p.fed(strings.ReplaceAll(moving, "URL", platformURL(p.t, lab, "vsphere")), "created", "apply", "-f", "-")
	p.run("condition met", "wait", "--for=condition=Ready", "--timeout=60s", "provider/vcenter", "plan/erp")
	p.fed(migration, "created", "create", "-f", "-")
	p.run("condition met", "wait", "--for=condition=Succeeded", "--timeout=90s", "plan/erp")
}
