package suite

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtv-matrix/conformance/suite/harness"
)

// The lab knows the fields of native kinds from this file, which is taken from a real server:
// unknown fields, wrong types, and how lists merge are judged by it. With
// MTV_CONFORMANCE_UPDATE=1 the file is written anew.
func TestTheLabHasTheRealSchemasOfNativeKinds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(harness.Root(), "lab", "src", "apiserver", "schema", "native.json")
	cluster := harness.Start(t)
	lab := harness.StartLab(t)
	s := &session{side: newSide(t, "real", cluster.URL, cluster.Token, cluster.CAFile), t: t}
	ours := &session{side: newSide(t, "lab", lab.URL, lab.Token, lab.CAFile), t: t}
	kept := map[string]any{}
	for _, group := range shared {
		// Events of the newer group are stored, and judged, in the older form.
		if strings.Contains(group, "events.k8s.io") || strings.Contains(group, "conformance") || strings.Contains(group, "kubevirt") || strings.Contains(group, "forklift") || strings.Contains(group, "cncf") {
			continue
		}
		rows, _ := at(ours.get("kinds", group, silent).body, []string{"resources"})
		kinds := map[string]bool{}
		list, _ := rows.([]any)
		for _, row := range list {
			kind, _ := at(row, []string{"kind"})
			name, _ := kind.(string)
			kinds[name] = true
		}
		schemas, ok := at(s.get("schemas", "/openapi/v3"+group, silent).body, []string{"components", "schemas"})
		if !ok {
			t.Fatalf("%s has no schemas", group)
		}
		all := schemas.(map[string]any)
		for name, schema := range all {
			gvks, _ := at(schema, []string{"x-kubernetes-group-version-kind"})
			of, _ := gvks.([]any)
			if len(of) == 1 {
				kind, _ := at(of[0], []string{"kind"})
				if text, _ := kind.(string); kinds[text] || text == "Scale" || text == "Eviction" || text == "TokenRequest" {
					keep(all, name, kept)
				}
			}
		}
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	text.WriteString("{\n")
	for i, name := range sorted(keys(kept)) {
		if i > 0 {
			text.WriteString(",\n")
		}
		key, _ := json.Marshal(name)
		text.Write(key)
		text.WriteString(": ")
		if err := encoder.Encode(kept[name]); err != nil {
			t.Fatal(err)
		}
		text.Truncate(text.Len() - 1)
	}
	text.WriteString("\n}\n")
	if os.Getenv("MTV_CONFORMANCE_UPDATE") != "" {
		if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s has %d schemas in %d bytes now", file, len(kept), text.Len())
		return
	}
	stored, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stored, text.Bytes()) {
		t.Errorf("%s is not what Kubernetes %s says: run with MTV_CONFORMANCE_UPDATE=1", file, harness.KubernetesVersion())
	}
}

func keys(of map[string]any) map[string]bool {
	found := map[string]bool{}
	for key := range of {
		found[key] = true
	}
	return found
}

// keep takes a schema and all that it refers to, without prose.
func keep(all map[string]any, name string, kept map[string]any) {
	if _, done := kept[name]; done {
		return
	}
	kept[name] = nil
	kept[name] = lean(all, all[name], kept)
}

func lean(all map[string]any, schema any, kept map[string]any) any {
	switch found := schema.(type) {
	case []any:
		list := []any{}
		for _, one := range found {
			list = append(list, lean(all, one, kept))
		}
		return list
	case map[string]any:
		// allOf with one reference is only there for the prose beside it.
		if of, ok := found["allOf"].([]any); ok && len(of) == 1 {
			return lean(all, of[0], kept)
		}
		result := map[string]any{}
		for key, below := range found {
			switch key {
			case "description":
				if _, prose := below.(string); prose {
					continue
				}
			case "default":
				// Zero values are how the generator writes "no pointer".
				if text, _ := json.Marshal(below); string(text) == "{}" || string(text) == `""` || string(text) == "0" || string(text) == "false" {
					continue
				}
			case "$ref":
				name, _ := below.(string)
				keep(all, strings.TrimPrefix(name, "#/components/schemas/"), kept)
			case "x-kubernetes-group-version-kind":
				if list, _ := below.([]any); len(list) > 3 {
					continue
				}
			}
			result[key] = lean(all, below, kept)
		}
		return result
	default:
		return schema
	}
}
