package suite

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// The suite's own kind: everything that a structural schema can ask for, and no controller.
const widgetCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.conformance.example}
spec:
  group: conformance.example
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [wg], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    selectableFields: [{jsonPath: .spec.color}]
    additionalPrinterColumns:
    - {name: Color, type: string, jsonPath: .spec.color, description: What it looks like}
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Tags, type: string, jsonPath: .spec.tags, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: A thing of the conformance suite's.
        required: [spec]
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [color]
            properties:
              color: {type: string, enum: [red, green, blue], description: What it looks like.}
              size: {type: integer, format: int32, minimum: 1, maximum: 10, default: 3}
              replicas: {type: integer, format: int32}
              weight: {type: number}
              shiny: {type: boolean}
              code: {type: string, pattern: '^[a-z]{3}$', maxLength: 3}
              when: {type: string, format: date-time}
              port: {x-kubernetes-int-or-string: true}
              nothing: {type: string, nullable: true}
              tags: {type: array, items: {type: string}, maxItems: 3, x-kubernetes-list-type: set}
              plain: {type: array, items: {type: string}}
              parts:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties:
                    name: {type: string}
                    count: {type: integer, default: 1}
                    note: {type: string}
              atom: {type: object, x-kubernetes-map-type: atomic, additionalProperties: {type: string}}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              labels: {type: object, additionalProperties: {type: string}}
              nested:
                type: object
                properties:
                  deep: {type: object, properties: {value: {type: string}, kept: {type: string, default: here}}}
          status:
            type: object
            properties:
              phase: {type: string}
              replicas: {type: integer}
              selector: {type: string}
              conditions:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [type]
                items:
                  type: object
                  required: [type, status]
                  properties: {type: {type: string}, status: {type: string}, reason: {type: string}}
`

const (
	crds       = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	widgets    = "/apis/conformance.example/v1/namespaces/$NS/widgets"
	configMaps = "/api/v1/namespaces/$NS/configmaps"
	secrets    = "/api/v1/namespaces/$NS/secrets"
)

func widget(name, spec string) string {
	return fmt.Sprintf(`{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":%q},"spec":{%s}}`, name, spec)
}

func configMap(name, data string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q},"data":{%s}}`, name, data)
}

func installWidgets(t *testing.T, on *side) {
	t.Helper()
	on.createCRD(t, []byte(widgetCRD))
}

// installCRDs creates every CRD of a folder, over what the server has built in.
func (on *side) installCRDs(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		on.createCRD(t, text)
	}
}

// createCRD creates a CustomResourceDefinition and waits until its objects can be listed.
func (on *side) createCRD(t *testing.T, text []byte) {
	t.Helper()
	body, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Plural string }
			Versions []struct {
				Name   string
				Served bool
			}
		}
	}
	if err := json.Unmarshal(body, &crd); err != nil {
		t.Fatal(err)
	}
	s := &session{side: on, t: t}
	created := s.post("crd", crds+"?fieldValidation=Strict", string(body), silent)
	if created.status == http.StatusConflict {
		// The lab starts with definitions that have no schema.
		name := "/" + crd.Spec.Names.Plural + "." + crd.Spec.Group
		created = s.patch("crd", mergePatch, crds+name, string(body), silent)
	}
	if created.status >= http.StatusBadRequest {
		t.Fatalf("%s: %s: %v", on.name, crd.Spec.Names.Plural, created.body)
	}
	for _, version := range crd.Spec.Versions {
		if !version.Served {
			continue
		}
		path := "/apis/" + strings.Join([]string{crd.Spec.Group, version.Name, crd.Spec.Names.Plural}, "/")
		for deadline := time.Now().Add(30 * time.Second); s.get("ready", path, silent).status != http.StatusOK; {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not serve %s", on.name, path)
			}
			time.Sleep(30 * time.Millisecond)
		}
	}
}
