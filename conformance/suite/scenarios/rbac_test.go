package scenarios

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"mtv-matrix/conformance/suite/harness"
)

const (
	jobNamespace = "mtv-matrix"
	jobAccount   = "mtv-matrix"
	jobUser      = "system:serviceaccount:" + jobNamespace + ":" + jobAccount
)

// exception is a right that no run here uses, and why it stays.
type exception struct {
	Right  string `json:"right"`
	Reason string `json:"reason"`
}

func exceptions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("rbac-exceptions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []exception
	if err := yaml.UnmarshalStrict(text, &all); err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for _, each := range all {
		if each.Reason == "" {
			t.Errorf("rbac-exceptions.yaml: %s has no reason", each.Right)
		}
		reasons[each.Right] = each.Reason
	}
	return reasons
}

// jobAccess applies the Job's account and rights, and writes a kubeconfig with the account's token.
func jobAccess(t *testing.T, cluster *harness.Cluster, lab *harness.Lab, change func(*unstructured.Unstructured)) (string, []harness.Right) {
	t.Helper()
	var applied []*unstructured.Unstructured
	for _, object := range harness.Kustomize(t, "manifests/overlays/all-rights") {
		switch object.GetKind() {
		case "Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding":
		default:
			continue
		}
		if change != nil {
			change(object)
		}
		if err := cluster.Apply(t, object, false); err != nil {
			t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
		applied = append(applied, object)
	}
	hours := int64(2 * 60 * 60)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hours}}
	answer, err := cluster.Kubernetes(t).CoreV1().ServiceAccounts(jobNamespace).CreateToken(context.Background(), jobAccount, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The pod's CA file has the API server's CA and that of the routes.
	var bundle []byte
	for _, file := range []string{cluster.CAFile, lab.CAFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(bundle, text...)
	}
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"job",
"clusters":[{"name":"job","cluster":{"server":%q,"certificate-authority-data":%q}}],
"users":[{"name":"job","user":{"token":%q}}],
"contexts":[{"name":"job","context":{"cluster":"job","user":"job"}}]}`,
		cluster.URL, base64.StdEncoding.EncodeToString(bundle), answer.Status.Token)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, harness.Granted(t, applied)
}

// measureRights does what a Job does besides a run that passes, and holds all of it against the rights
// that the Job was granted. The lab is stopped: others take its place.
func measureRights(t *testing.T, cluster *harness.Cluster, lab *harness.Lab, kubeconfig string, granted []harness.Right) {
	// Preflight alone; the default storage class; artifacts of what failed;
	// cleaning by ledger, and by label where the ledger is lost; a run that is interrupted while MTV works
	// on the destination with the Job's token.
	harness.Command(t, 0, "doctor", "--set", "kubeconfig="+kubeconfig)
	lab.Process.Stop()
	defective := harness.StartLab(t, "--on", cluster.Kubeconfig, "--defect", "lost-disk")
	kubeconfig, _ = jobAccess(t, cluster, defective, nil)
	access := []string{"--set", "kubeconfig=" + kubeconfig, "--providers-json", defective.Providers}
	kept := func(t *testing.T, scenario string) *harness.Result {
		t.Helper()
		arguments := harness.OnCluster(kubeconfig, defective.Providers, "-p", "vsphere", "-s", scenario, "--keep", "always")
		arguments = slices.DeleteFunc(arguments, func(a string) bool { return a == "--storage-class" || a == harness.StorageClass })
		result := harness.Run(t, arguments...)
		report(t, "kept", result)
		return result
	}
	t.Run("of failed and of kept runs", func(t *testing.T) {
		beside(t, "cleaned by their ledger", func(t *testing.T) {
			failed := kept(t, "test_cold_migration_comprehensive")
			if failed.ExitCode != 1 {
				t.Errorf("exit code %d of a run with a defect\n%s", failed.ExitCode, failed.Output)
			}
			whole(t, failed)
			harness.Command(t, 0, append([]string{"clean", "--results", failed.Dir}, access...)...)
			nothingLeft(t, cluster, failed.Run)
		})
		beside(t, "by copy-offload", func(t *testing.T) {
			// What populators tell is watched from the migration on.
			offloaded := harness.Run(t, harness.OnCluster(kubeconfig, defective.Providers, "-p", "vsphere", "-s", "test_copyoffload_thin_migration")...)
			report(t, "copy-offload", offloaded)
			if offloaded.ExitCode != 1 {
				t.Errorf("exit code %d of a copy-offload run with a defect\n%s", offloaded.ExitCode, offloaded.Output)
			}
			whole(t, offloaded)
			nothingLeft(t, cluster, offloaded.Run)
		})
		beside(t, "cleaned by their label", func(t *testing.T) {
			lost := kept(t, "test_post_hook_retain_failed_vm")
			// Without its ledger, a clone on a source platform is listed; it goes when that is asked for.
			harness.Command(t, 4, append([]string{"clean", "--run-id", lost.Run}, access...)...)
			harness.Command(t, 0, append([]string{"clean", "--run-id", lost.Run, "--yes"}, access...)...)
			nothingLeft(t, cluster, lost.Run)
		})
	})
	harness.Command(t, 0, append([]string{"clean", "--older-than", "24h"}, access...)...)
	copying := func(ctx context.Context) error {
		claims, err := cluster.Kubernetes(t).CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, claim := range claims.Items {
			if strings.Contains(claim.Namespace, "warm-remote-ocp") {
				return nil
			}
		}
		return fmt.Errorf("MTV has made no claim yet")
	}
	interrupted := harness.Interrupt(t, copying, harness.OnCluster(kubeconfig, defective.Providers, "-p", "vsphere", "-s", "test_warm_remote_ocp")...)
	report(t, "interrupted", interrupted)
	if interrupted.ExitCode != 130 {
		t.Errorf("exit code %d of an interrupted run\n%s", interrupted.ExitCode, interrupted.Output)
	}
	nothingLeft(t, cluster, interrupted.Run)

	// MTV without OLM, and an inventory without a route: what a plain Kubernetes has.
	remove(t, cluster, "operators.coreos.com", "v1alpha1", "subscriptions", "mtv-operator")
	remove(t, cluster, "operators.coreos.com", "v1alpha1", "clusterserviceversions", "mtv-operator.v2.11.0")
	harness.Command(t, 0, "doctor", "--set", "kubeconfig="+kubeconfig)
	remove(t, cluster, "route.openshift.io", "v1", "routes", "forklift-inventory")
	t.Log(harness.Command(t, 3, "doctor", "--set", "kubeconfig="+kubeconfig))

	usage := harness.Uses(t, cluster.Audit(t), jobUser)
	t.Logf("%d rights granted, %d requests in the audit log", len(granted), usage.Requests)
	for _, missing := range usage.Missing() {
		t.Errorf("the Job may not: %s", missing)
	}
	reasons := exceptions(t)
	for _, right := range usage.Unused(granted) {
		if _, known := reasons[right.String()]; !known {
			t.Errorf("granted, but never used: %s", right)
		}
		delete(reasons, right.String())
	}
	for right := range reasons {
		t.Errorf("rbac-exceptions.yaml: %s is used, or not granted: no exception is needed", right)
	}
}

// whole holds that what was gathered of a failed cell is all there: logs that nobody answers for take the collecting's time.
func whole(t *testing.T, failed *harness.Result) {
	t.Helper()
	if strings.Contains(failed.Output, "artifacts are incomplete") {
		t.Errorf("artifacts are incomplete:\n%s", failed.Output)
	}
	logs := filepath.Join(failed.Dir, "artifacts", "*", "*", "namespaces", "openshift-mtv", "pods", "*", "*", "*", "logs", "current.log")
	if found, _ := filepath.Glob(logs); len(found) == 0 {
		t.Errorf("no log of MTV's pods among the artifacts in %s", failed.Dir)
	}
}

// remove deletes an object of MTV's namespace.
func remove(t *testing.T, cluster *harness.Cluster, group, version, resource, name string) {
	t.Helper()
	api := cluster.Dynamic(t).Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: resource})
	if err := api.Namespace("openshift-mtv").Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatalf("%s %s: %v", resource, name, err)
	}
}

func TestAVerbThatIsTakenFromTheRoleIsNamed(t *testing.T) {
	t.Parallel()
	cluster := harness.Start(t)
	lab := harness.StartLab(t, "--on", cluster.Kubeconfig)
	for _, each := range []struct{ resource, verb, scenario string }{
		{"plans", "create", "test_sanity_cold_mtv_migration"},
		{"namespaces", "delete", "test_sanity_cold_mtv_migration"},
		{"forkliftcontrollers", "patch", "test_sanity_warm_mtv_migration"},
	} {
		t.Run(each.verb+" "+each.resource, func(t *testing.T) {
			kubeconfig, _ := jobAccess(t, cluster, lab, func(object *unstructured.Unstructured) {
				if !strings.HasSuffix(object.GetKind(), "Role") {
					return
				}
				rules, _, _ := unstructured.NestedSlice(object.Object, "rules")
				_ = unstructured.SetNestedSlice(object.Object, without(rules, each.resource, each.verb), "rules")
			})
			before := len(harness.Uses(t, cluster.Audit(t), jobUser).Refused)
			result := harness.Run(t, harness.OnCluster(kubeconfig, lab.Providers, "-p", "vsphere", "-s", each.scenario)...)
			usage := harness.Uses(t, cluster.Audit(t), jobUser)
			usage.Refused = usage.Refused[before:]
			missing := usage.Missing()
			t.Logf("without %s on %s: exit code %d, missing: %v", each.verb, each.resource, result.ExitCode, missing)
			if len(missing) != 1 || !strings.HasPrefix(missing[0], each.verb+" "+each.resource) {
				t.Errorf("taken was %s on %s, found missing: %v", each.verb, each.resource, missing)
			}
		})
	}
}

// without takes a verb on a resource out of the rules.
func without(rules []any, resource, verb string) []any {
	var kept []any
	for _, each := range rules {
		rule := each.(map[string]any)
		resources := rule["resources"].([]any)
		if !slices.Contains(resources, any(resource)) {
			kept = append(kept, rule)
			continue
		}
		others := slices.DeleteFunc(slices.Clone(resources), func(r any) bool { return r == any(resource) })
		if len(others) > 0 {
			kept = append(kept, changed(rule, "resources", others))
		}
		verbs := slices.DeleteFunc(slices.Clone(rule["verbs"].([]any)), func(v any) bool { return v == any(verb) })
		if len(verbs) > 0 {
			kept = append(kept, changed(changed(rule, "resources", []any{resource}), "verbs", verbs))
		}
	}
	return kept
}

func changed(rule map[string]any, key string, value any) map[string]any {
	copied := map[string]any{}
	for name, field := range rule {
		copied[name] = field
	}
	copied[key] = value
	return copied
}
