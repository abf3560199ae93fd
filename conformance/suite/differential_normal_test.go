package suite

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// normaliser replaces what must differ: the first uid becomes uid-1, the second uid-2, and so on;
// the same for resourceVersions of objects, so that it shows which requests wrote.
type normaliser struct {
	uids, versions map[string]string
}

var (
	uidForm  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timeForm = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	// rv=… in messages.
	versionForm   = regexp.MustCompile(`(resource version: )\d+( \(\d+\))?(, current: \d+)?`)
	recordForm    = regexp.MustCompile(`(in record \()\d+(\))`)
	yamlForm      = regexp.MustCompile(`(resourceVersion: )"\d+"`)
	generatedForm = regexp.MustCompile(`\b([gG]en[-_])[bcdfghjklmnpqrstvwxz2456789]{5}\b`)
	// %!v style addresses and the like never appear; ages do.
	// A patch that fails repeats the whole object.
	patchedForm = regexp.MustCompile(`(Invalid value: )"\{.*\}"(: )`)
	listForm    = regexp.MustCompile(`(?s)^(.* is invalid: \[)(.*)(\])$`)
	causeForm   = regexp.MustCompile(`, [^ ,:]+: (Invalid|Required|Unsupported|Forbidden|Too|Duplicate|Internal)`)
	ageForm     = regexp.MustCompile(`^\d+(ms|s|m)$`)
)

func normalised(run []exchange) []exchange {
	n := &normaliser{uids: map[string]string{}, versions: map[string]string{}}
	result := make([]exchange, len(run))
	for i, one := range run {
		seen, _ := n.value("", one.Seen, false).(map[string]any)
		result[i] = exchange{Step: one.Step, Seen: seen}
	}
	return result
}

func (n *normaliser) value(key string, value any, listMeta bool) any {
	switch found := value.(type) {
	case map[string]any:
		result := map[string]any{}
		_, items := found["items"]
		_, rows := found["rows"]
		kind, _ := found["type"].(string)
		bookmark := kind == "BOOKMARK"
		for _, key := range sorted(keys(found)) {
			below := found[key]
			key := uidForm.ReplaceAllStringFunc(key, func(uid string) string { return numbered(n.uids, "uid", uid) })
			if meta, ok := below.(map[string]any); ok && key == "metadata" && (items || rows) {
				result[key] = n.value(key, meta, true)
				continue
			}
			if bookmark && key == "object" {
				blank(below)
			}
			if key == "resourceVersion" && listMeta {
				// Of the whole store, in which others write, too.
				result[key] = "<list>"
				continue
			}
			result[key] = n.value(key, below, false)
			if text, _ := below.(string); key == "continue" && listMeta && text != "" {
				result[key] = "<token>"
			}
		}
		return result
	case []any:
		result := make([]any, len(found))
		for i, below := range found {
			result[i] = n.value(key, below, false)
		}
		if key == "causes" || key == "managedFields" {
			// The real server goes through maps in any order, and its clock has whole seconds.
			// It also says the same cause as often as it looked.
			sort.SliceStable(result, func(a, b int) bool { return plain(result[a]) < plain(result[b]) })
			result = slices.CompactFunc(result, func(a, b any) bool { return plain(a) == plain(b) })
		}
		if key == "cells" {
			for i, cell := range result {
				if text, ok := cell.(string); ok {
					result[i] = ageForm.ReplaceAllString(text, "<age>")
				}
			}
		}
		return result
	case string:
		if key == "resourceVersion" && found != "" && strings.Trim(found, "0123456789") == "" {
			return numbered(n.versions, "version", found)
		}
		text := uidForm.ReplaceAllStringFunc(found, func(uid string) string { return numbered(n.uids, "uid", uid) })
		text = timeForm.ReplaceAllString(text, "<time>")
		text = patchedForm.ReplaceAllString(text, "${1}<object>${2}")
		if key == "message" {
			text = inOrder(text)
		}
		text = versionForm.ReplaceAllString(text, "$1<version>")
		text = recordForm.ReplaceAllString(text, "${1}<version>${2}")
		text = yamlForm.ReplaceAllString(text, "${1}<version>")
		return generatedForm.ReplaceAllString(text, "$1<generated>")
	case json.Number:
		return found
	default:
		return value
	}
}

// blank takes the versions out of a bookmark: they are the store's, not an object's.
func blank(value any) {
	switch found := value.(type) {
	case map[string]any:
		if _, ok := found["resourceVersion"]; ok {
			found["resourceVersion"] = "<bookmark>"
		}
		for _, below := range found {
			blank(below)
		}
	case []any:
		for _, below := range found {
			blank(below)
		}
	}
}

func plain(value any) string {
	text, _ := json.Marshal(value)
	return string(text)
}

// inOrder sorts the causes within a message.
func inOrder(message string) string {
	parts := listForm.FindStringSubmatch(message)
	if parts == nil {
		return message
	}
	var causes []string
	rest := parts[2]
	for {
		at := causeForm.FindStringIndex(rest)
		if at == nil {
			break
		}
		causes = append(causes, rest[:at[0]])
		rest = rest[at[0]+2:]
	}
	causes = append(causes, rest)
	sort.Strings(causes)
	return parts[1] + strings.Join(causes, ", ") + parts[3]
}

func numbered(known map[string]string, what, value string) string {
	if name, ok := known[value]; ok {
		return name
	}
	known[value] = fmt.Sprintf("%s-%d", what, len(known)+1)
	return known[value]
}
