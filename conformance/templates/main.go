// Renders templates with Go's text/template and the functions that Forklift allows in names of PVCs, and
// prints what came of each, JSON a line: the golden vectors in src/check/template_vectors.jsonl.
//
//	go run . > ../../src/check/template_vectors.jsonl
//
// A template that gives an error has none of "text". The functions are those of pkg/templateutil in Forklift.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// Forklift's list; everything else of Sprig is unknown there.
var allowed = []string{
	"lower", "upper", "contains", "replace", "trim", "trimAll", "trimSuffix", "trimPrefix", "title", "untitle",
	"repeat", "substr", "nospace", "trunc", "initials", "hasPrefix", "hasSuffix", "mustRegexReplaceAll",
	"add", "add1", "sub", "div", "mod", "mul", "max", "min", "floor", "ceil", "round",
}

// The fields that the templates may use; the test in Rust has the same.
var fields = map[string]any{
	"VmName":         "My VM_01",
	"DiskIndex":      2,
	"RootDiskIndex":  0,
	"Shared":         false,
	"WinDriveLetter": "c",
	"Empty":          "",
}

type vector struct {
	Template string  `json:"template"`
	Text     *string `json:"text,omitempty"`
}

func render(functions template.FuncMap, text string) (string, error) {
	parsed, err := template.New("").Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, fields)
	return out.String(), err
}

func main() {
	functions := template.FuncMap{}
	all := sprig.TxtFuncMap()
	for _, name := range allowed {
		functions[name] = all[name]
	}
	var vectors []vector
	for _, text := range templates() {
		entry := vector{Template: text}
		if rendered, err := render(functions, text); err == nil {
			entry.Text = &rendered
		}
		vectors = append(vectors, entry)
	}
	// A vector a line, so that a change is seen as what it is.
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	for _, vector := range vectors {
		if err := encoder.Encode(vector); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
