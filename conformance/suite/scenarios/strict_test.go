package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"mtv-matrix/conformance/suite/harness"
)

// strictNamespace exists for dry runs only.
const strictNamespace = "strict"

// kindsOfARun are those that every run with all scenarios creates.
var kindsOfARun = []string{"Namespace", "Secret", "Provider", "StorageMap", "NetworkMap", "Plan", "Migration", "Hook", "NetworkAttachmentDefinition"}

// sent is an object as the runner sent it, for the first time or changed by a patch of its own.
type sent struct {
	what   string
	object *unstructured.Unstructured
}

// everythingIsStrictlyValid sends every body that the runner sent once more, as a dry run with strict
// validation: the API server prunes unknown fields silently unless it is asked not to.
func everythingIsStrictlyValid(t *testing.T, cluster *harness.Cluster, run *harness.Result) {
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": strictNamespace}}}
	if err := cluster.Apply(t, namespace, false); err != nil {
		t.Fatal(err)
	}
	objects, patches := runnersObjects(t, cluster)
	count := map[string]int{}
	for _, each := range objects {
		count[each.object.GetKind()]++
		if err := dryRun(t, cluster, each.object); err != nil {
			t.Errorf("%s: %v", each.what, err)
		}
	}
	kinds := slices.Sorted(maps.Keys(count))
	var summary []string
	for _, kind := range kinds {
		summary = append(summary, fmt.Sprintf("%d %s", count[kind], kind))
	}
	t.Logf("%d objects and %d patches of %d cells sent once more with strict validation: %s", len(objects), patches, len(run.Cells), strings.Join(summary, ", "))
	for _, kind := range kindsOfARun {
		if count[kind] == 0 {
			t.Errorf("no %s was created: what was validated is not what a run creates", kind)
		}
	}
	refusesABrokenPlan(t, cluster, objects)
}

// runnersObjects reads creates from the audit log; a merge patch of an object that the run made gives a
// further object, one of another's object is sent once more by itself.
func runnersObjects(t *testing.T, cluster *harness.Cluster) ([]sent, int) {
	t.Helper()
	var objects []sent
	made := map[string]*unstructured.Unstructured{}
	patches := 0
	for _, event := range cluster.Audit(t) {
		ref := event.ObjectRef
		if event.User.Username != jobUser || ref == nil || ref.Subresource != "" || event.RequestObject == nil || event.ResponseStatus.Code >= 300 {
			continue
		}
		key := ref.Group + "/" + ref.Resource + "/" + ref.Namespace + "/"
		switch event.Verb {
		case "create":
			object := &unstructured.Unstructured{}
			if err := object.UnmarshalJSON(event.RequestObject); err != nil {
				t.Fatalf("%s: %v", event.RequestURI, err)
			}
			// The log has custom objects as they are after pruning, so only the server could see an unknown
			// field: it must have been asked to refuse it. Other kinds are MTV's, too, with the Job's token.
			if slices.Contains(kindsOfARun, object.GetKind()) && !strings.Contains(event.RequestURI, "fieldValidation=Strict") {
				t.Errorf("%s was created without strict validation", event.RequestURI)
			}
			made[key+object.GetName()+cut(object.GetGenerateName())] = object
			objects = append(objects, sent{"create " + describe(object), object})
		case "patch":
			patches++
			before, ours := made[key+ref.Name]
			for prefix, object := range made {
				// The server made the name: the log has only its beginning.
				if !ours && object.GetName() == "" && strings.HasPrefix(key+ref.Name, prefix) {
					before, ours = object, true
				}
			}
			if !ours {
				dryPatch(t, cluster, schema.GroupVersionResource{Group: ref.Group, Version: ref.Version, Resource: ref.Resource}, ref.Namespace, ref.Name, event.RequestObject)
				continue
			}
			text, err := before.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			merged, err := jsonpatch.MergePatch(text, event.RequestObject)
			if err != nil {
				t.Fatalf("%s: %v", event.RequestURI, err)
			}
			object := &unstructured.Unstructured{}
			if err := object.UnmarshalJSON(merged); err != nil {
				t.Fatal(err)
			}
			objects = append(objects, sent{"patch " + describe(object), object})
		}
	}
	return objects, patches
}

// cut is what the API server keeps of a generateName before it adds five characters.
func cut(generateName string) string {
	if len(generateName) > 58 {
		return generateName[:58]
	}
	return generateName
}

func describe(object *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
}

// dryRun creates a copy that never is.
func dryRun(t *testing.T, cluster *harness.Cluster, object *unstructured.Unstructured) error {
	t.Helper()
	copied := object.DeepCopy()
	copied.SetResourceVersion("")
	if copied.GetNamespace() != "" {
		copied.SetNamespace(strictNamespace)
	}
	return cluster.Apply(t, copied, true)
}

func dryPatch(t *testing.T, cluster *harness.Cluster, resource schema.GroupVersionResource, namespace, name string, body []byte) {
	t.Helper()
	var patch map[string]any
	if err := json.Unmarshal(body, &patch); err != nil {
		t.Fatal(err)
	}
	// It was made for a state that is past.
	unstructured.RemoveNestedField(patch, "metadata", "resourceVersion")
	text, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	options := metav1.PatchOptions{FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll}}
	_, err = cluster.Dynamic(t).Resource(resource).Namespace(namespace).Patch(context.Background(), name, types.MergePatchType, text, options)
	if err != nil {
		t.Errorf("patch %s %s/%s: %v", resource.Resource, namespace, name, err)
	}
}

// refusesABrokenPlan shows that the validation above can fail.
func refusesABrokenPlan(t *testing.T, cluster *harness.Cluster, objects []sent) {
	t.Helper()
	at := slices.IndexFunc(objects, func(each sent) bool { return each.object.GetKind() == "Plan" })
	if at < 0 {
		t.Fatal("no Plan was created")
	}
	for field, value := range map[string]string{"inventedField": "x", "type": "lukewarm", "targetPowerState": "maybe"} {
		plan := objects[at].object.DeepCopy()
		if err := unstructured.SetNestedField(plan.Object, value, "spec", field); err != nil {
			t.Fatal(err)
		}
		err := dryRun(t, cluster, plan)
		if err == nil || !strings.Contains(err.Error(), "spec."+field) {
			t.Errorf("a Plan with spec.%s: %s is not refused: %v", field, value, err)
			continue
		}
		t.Logf("a Plan with spec.%s: %s is refused: %v", field, value, err)
	}
}
