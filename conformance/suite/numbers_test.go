package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"mtv-matrix/conformance/suite/harness"
)

// The lab reads protobuf by the numbers that Kubernetes' types give their fields. With
// MTV_CONFORMANCE_UPDATE=1 lines that differ are written anew; messages of modules that this suite
// does not have (the aggregator's) stay as they are.
func TestTheLabHasTheRealNumbersOfFields(t *testing.T) {
	file := filepath.Join(harness.Root(), "lab", "src", "apiserver", "schema", "numbers.txt")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, known := range scheme.Scheme.AllKnownTypes() {
		numbers(known, found)
	}
	numbers(reflect.TypeFor[apiextensions.CustomResourceDefinition](), found)
	numbers(reflect.TypeFor[metav1.DeleteOptions](), found)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range lines {
		name, _, _ := strings.Cut(line, " ")
		if real, ok := found[name]; ok && real != line {
			if os.Getenv("MTV_CONFORMANCE_UPDATE") == "" {
				t.Errorf("%s: has %q, Kubernetes has %q", file, line, real)
			}
			lines[i] = real
		}
	}
	if os.Getenv("MTV_CONFORMANCE_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// openAPIName is io.k8s.api.core.v1.Pod for k8s.io/api/core/v1.Pod.
func openAPIName(of reflect.Type) string {
	host, rest, _ := strings.Cut(of.PkgPath(), "/")
	labels := strings.Split(host, ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	return strings.Join(labels, ".") + "." + strings.ReplaceAll(rest, "/", ".") + "." + of.Name()
}

// numbers adds the line of a struct, and of all structs that it has.
func numbers(of reflect.Type, found map[string]string) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || !strings.HasPrefix(of.PkgPath(), "k8s.io/") {
		return
	}
	name := openAPIName(of)
	if _, done := found[name]; done {
		return
	}
	found[name] = ""
	line := name
	for i := range of.NumField() {
		field := of.Field(i)
		tag := strings.Split(field.Tag.Get("protobuf"), ",")
		if len(tag) < 2 {
			continue
		}
		numbers(field.Type, found)
		json, rest, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case json == "":
			embedded := field.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			line += fmt.Sprintf(" +%s=%s", openAPIName(embedded), tag[1])
		case field.Type.Kind() == reflect.Pointer || !strings.Contains(rest, "omitempty"):
			line += fmt.Sprintf(" %s=%s!", json, tag[1])
		default:
			line += fmt.Sprintf(" %s=%s", json, tag[1])
		}
	}
	found[name] = line
}
