// Package tekton holds tekton/*.yaml against Tekton's own types: what its webhook
// would default and refuse.
package tekton

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"knative.dev/pkg/apis"
	strict "sigs.k8s.io/yaml"
)

// resource is what every kind of Tekton's can do.
type resource interface {
	metav1.Object
	apis.Defaultable
	apis.Validatable
}

// documents are the parts of a YAML file that say something.
func documents(t *testing.T, file string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reader := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer reader.Close()
	var found [][]byte
	for {
		buffer := make([]byte, len(text)+1)
		n, err := reader.Read(buffer)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, buffer[:n])
	}
}

// check is what the admission webhook does with a new object.
func check(document []byte) (string, error) {
	var kind struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := strict.Unmarshal(document, &kind); err != nil {
		return "", err
	}
	var object resource
	switch kind.APIVersion + " " + kind.Kind {
	case "tekton.dev/v1 Task":
		object = &v1.Task{}
	case "tekton.dev/v1 Pipeline":
		object = &v1.Pipeline{}
	case "tekton.dev/v1 PipelineRun":
		object = &v1.PipelineRun{}
	default:
		return kind.Kind, errors.New("not a kind of Tekton's: " + kind.APIVersion + " " + kind.Kind)
	}
	if err := strict.UnmarshalStrict(document, object); err != nil {
		return kind.Kind, err
	}
	if object.GetName() == "" && object.GetGenerateName() != "" {
		// The API server makes the name before it asks the webhook.
		object.SetName(object.GetGenerateName() + "x7k2p")
	}
	ctx := apis.WithinCreate(context.Background())
	object.SetDefaults(ctx)
	if err := object.Validate(ctx); err != nil {
		return kind.Kind, err
	}
	return kind.Kind, nil
}

func TestTektonTakesEveryFile(t *testing.T) {
	files, err := filepath.Glob("../../tekton/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in tekton/: %v", err)
	}
	for _, file := range files {
		for _, document := range documents(t, file) {
			kind, err := check(document)
			if err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(file), kind, err)
			} else {
				t.Logf("%s: %s is valid", filepath.Base(file), kind)
			}
		}
	}
}

func TestABrokenTaskIsRefused(t *testing.T) {
	text, err := os.ReadFile("../../tekton/task.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for what, broken := range map[string]string{
		"an unknown field":     strings.Replace(string(text), "\nspec:\n", "\nspec:\n  invented: true\n", 1),
		"an unknown parameter": strings.Replace(string(text), "$(params.", "$(params.invented-", 1),
	} {
		if broken == string(text) {
			t.Errorf("%s: nothing was changed", what)
		}
		if _, err := check([]byte(broken)); err == nil {
			t.Errorf("a Task with %s is not refused", what)
		} else {
			t.Logf("a Task with %s is refused: %v", what, err)
		}
	}
}
