package suite

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"mtv-matrix/conformance/suite/harness"
)

// These come first, by this file's name: they take longest, and who waits for a place gets it in this order.

func TestAnsiblePlaysItsVmwareModulesOnTheLabsVcenter(t *testing.T) {
	t.Parallel()
	python := harness.FurtherPython(t)
	lab := harness.StartLab(t, "--clock-scale", "600")
	url, err := url.Parse(platformURL(t, lab, "vsphere"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("ansible: %d tasks against the lab's vCenter\n", play(t, python, "vmware.yaml", "LAB_PORT="+url.Port()))
}

func TestAnsiblePlaysItsKubernetesModulesOnTheLab(t *testing.T) {
	t.Parallel()
	python := harness.FurtherPython(t)
	lab := harness.StartLab(t)
	fmt.Printf("ansible: %d tasks against the lab\n", play(t, python, "play.yaml", "K8S_AUTH_KUBECONFIG="+lab.Kubeconfig))
}

// play runs a playbook of python/further and counts its tasks.
func play(t *testing.T, python, name string, env ...string) int {
	t.Helper()
	env = append(env, "HOME="+t.TempDir(), "ANSIBLE_NOCOLOR=1", "ANSIBLE_LOCALHOST_WARNING=False",
		"ANSIBLE_INVENTORY_UNPARSED_WARNING=False", "LC_ALL=C.UTF-8")
	ansible := filepath.Join(filepath.Dir(python), "ansible-playbook")
	path := filepath.Join(harness.Root(), "conformance", "python", "further", name)
	code, out, errors := program(t, env, "", ansible, "-e", "ansible_python_interpreter="+python, path)
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, out, errors)
	}
	return strings.Count(out, "TASK [")
}
