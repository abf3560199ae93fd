package main

import (
	"fmt"
	"strings"
)

// What is rendered: every function over the edges of its arguments, and the language around them.
func templates() []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, "{{ "+fmt.Sprintf(format, args...)+" }}") }

	texts := []string{"", "abc", "  hello  World ", "hello wide-world", "my_vm.example-01", "a\tb", "$5.00$", "-a-b-"}
	quote := func(text string) string { return fmt.Sprintf("%q", text) }
	for _, text := range texts {
		for _, function := range []string{"lower", "upper", "trim", "title", "untitle", "nospace", "initials"} {
			add("%s %s", function, quote(text))
			add("%s | %s", quote(text), function)
		}
		for _, part := range []string{"", "a", "-", "$", " ", "hello", "world ", "abcdef"} {
			for _, function := range []string{"contains", "trimAll", "trimSuffix", "trimPrefix", "hasPrefix", "hasSuffix"} {
				add("%s %s %s", function, quote(part), quote(text))
			}
			add("%s | replace %s \"+\"", quote(text), quote(part))
		}
		for _, n := range []int{-20, -3, -1, 0, 1, 3, 5, 20} {
			add("trunc %d %s", n, quote(text))
			add("substr 0 %d %s", n, quote(text))
			add("substr %d 3 %s", n, quote(text))
			add("substr 2 %d %s", n, quote(text))
		}
		for _, n := range []int{-1, 0, 1, 3} {
			add("repeat %d %s", n, quote(text))
		}
		add("mustRegexReplaceAll \"[^a-z0-9]+\" %s \"-\"", quote(text))
		add("mustRegexReplaceAll \"(a)(b)?\" %s \"${2}$1.\"", quote(text))
		add("len %s", quote(text))
		add("printf \"%%s|%%5s|%%q\" %s %s %s", quote(text), quote(text), quote(text))
		add("if %s }}yes{{ else }}no{{ end", quote(text))
		add("not %s", quote(text))
		add("and %s \"last\"", quote(text))
		add("or %s \"last\"", quote(text))
	}
	add("mustRegexReplaceAll \"(\" \"x\" \"y\"")
	add("mustRegexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"${1}W\"")
	add("mustRegexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"$1W\"")

	numbers := []string{"-7", "0", "1", "3", "-2.5", "123.555555", "\"4\"", "\"x\"", "\"2.9\"", "true"}
	for _, a := range numbers {
		for _, function := range []string{"add1", "floor", "ceil"} {
			add("%s %s", function, a)
		}
		for _, digits := range []int{0, 1, 3} {
			add("round %s %d", a, digits)
		}
		for _, b := range numbers {
			for _, function := range []string{"add", "sub", "mul", "div", "mod", "max", "min", "eq", "ne", "lt", "le", "gt", "ge"} {
				add("%s %s %s", function, a, b)
			}
		}
	}
	add("add")
	add("add 1 2 3 4")
	add("mul 2 3 4")
	add("mul 7")
	add("max 1 3 2")
	add("min 4 3 5")
	add("round 2.5 0 0.6")
	add("round 2.45 1 0.4")
	add("sub 1")
	add("sub 1 2 3")
	add("lower")
	add("lower 1")
	add("lower \"a\" \"b\"")
	add("trunc \"1\" \"abc\"")
	add("unknown 1")
	add("b64enc \"not allowed\"")
	for _, format := range []string{"%d", "%03d", "%3d", "%s", "%v", "%5v", "%%", "%d-%d", "%x"} {
		add("printf %q .DiskIndex", format)
		add("printf %q .VmName", format)
	}
	add("printf \"%%d\"")
	add("print 1 2 \"a\" \"b\" 3")
	add("print \"a\" \"b\"")
	add("eq .DiskIndex 1 2 3")
	add("eq \"a\" \"b\" \"a\"")

	return append(all, strings.Split(strings.TrimSpace(language), "\n")...)
}

const language = `
{{.VmName}}
{{ .VmName | lower | nospace }}
{{.VmName | replace "_" "-" | lower | trunc 4}}-{{.DiskIndex}}
disk-{{.DiskIndex}}
{{if eq .DiskIndex .RootDiskIndex}}root{{else}}data{{end}}-{{.DiskIndex}}
{{if .Shared}}shared-{{end}}{{.VmName | trunc 2}}
{{if and .Shared .VmName}}a{{else if gt .DiskIndex 1}}b{{else}}c{{end}}
{{if not .Shared}}own{{end}}
{{- "  left" }} and {{ "right  " -}} 
  {{- .DiskIndex -}}  x
{{/* a comment */}}kept
{{- /* trimmed */ -}} kept
{{ .Missing }}
{{ .VmName.Part }}
{{ (lower .VmName) | trunc 5 }}
{{ trunc 5 (lower .VmName) }}
{{ add (mul 2 3) (sub 5 1) }}
{{ printf "%s-%02d" (.VmName | lower | trunc 2) .DiskIndex }}
{{ .Empty }}
{{ if .Empty }}no{{ end }}empty
{{ "a\"b" }}
{{ ` + "`raw \\n`" + ` }}
{{ 0x10 }}
{{ 1e3 }}
{{ 'a' }}
{{ true }}
{{ nil }}
{{ }}
{{ .VmName
}}
{{ .VmName }
{{ end }}
{{ if }}x{{ end }}
{{ if .Shared }}x
{{ "unclosed }}
{{ .VmName | }}
{{ | lower }}
{{ (lower "A" }}
{{ lower "A") }}
plain
a {{ "b" }} c {{ "d" }} e
{{ with .VmName }}{{ . }}{{ end }}
{{ range .VmName }}x{{ end }}
{{ $x := 1 }}{{ $x }}
{{ .DiskIndex | printf "%03d" }}
{{ .DiskIndex | add 1 }}
{{ .DiskIndex | sub 1 }}
{{ not 1 }}
{{ and 1 0 }}
{{ or 0 "" "x" }}
{{ len 1 }}
`
