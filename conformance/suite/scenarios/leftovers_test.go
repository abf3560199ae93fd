package scenarios

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mtv-matrix/conformance/suite/harness"
)

// runLabel is on everything that a run creates.
const runLabel = "mtv-matrix.io/run-id"

// nothingLeft asks for every kind that can be listed whether the run left an object.
func nothingLeft(t *testing.T, cluster *harness.Cluster, run string) {
	t.Helper()
	// A label that nothing ever had would prove nothing.
	if audit, _ := os.ReadFile(cluster.AuditLog); !strings.Contains(string(audit), `"`+runLabel+`":"`+run+`"`) {
		t.Errorf("nothing was created with the label %s=%s", runLabel, run)
	}
	// The last namespace may be on its way out.
	err := harness.Eventually(30*time.Second, func() error {
		left := labelled(t, cluster, run)
		if len(left) > 0 {
			return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func labelled(t *testing.T, cluster *harness.Cluster, run string) []string {
	t.Helper()
	lists, err := cluster.Discovery(t).ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	client := cluster.Dynamic(t)
	var found []string
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if !strings.Contains(strings.Join(resource.Verbs, " "), "list") {
				continue
			}
			options := metav1.ListOptions{LabelSelector: runLabel + "=" + run}
			objects, err := client.Resource(version.WithResource(resource.Name)).List(context.Background(), options)
			if err != nil {
				t.Fatalf("%s: %v", resource.Name, err)
			}
			for _, object := range objects.Items {
				found = append(found, fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName()))
			}
		}
	}
	return found
}
