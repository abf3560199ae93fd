package suite

import (
	"encoding/json"
	"fmt"
	"regexp"
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
	generatedForm = regexp.MustCompile(`\b(gen-)[bcdfghjklmnpqrstvwxz2456789]{5}\b`)
	// %!v style addresses and the like never appear; ages do.
	ageForm = regexp.MustCompile(`^\d+(ms|s|m)$`)
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
		for key, below := range found {
			if meta, ok := below.(map[string]any); ok && key == "metadata" && (items || rows) {
				result[key] = n.value(key, meta, true)
				continue
			}
			result[key] = n.value(key, below, listMeta && key == "resourceVersion")
			if listMeta && key == "resourceVersion" {
				result[key] = "<list>"
			}
			if key == "continue" && listMeta {
				result[key] = "<token>"
			}
		}
		if kind, ok := found["type"].(string); ok && kind == "BOOKMARK" {
			if meta, ok := at(result, []string{"object", "metadata"}); ok {
				meta.(map[string]any)["resourceVersion"] = "<bookmark>"
			}
		}
		return result
	case []any:
		result := make([]any, len(found))
		for i, below := range found {
			result[i] = n.value(key, below, false)
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
		text = versionForm.ReplaceAllString(text, "$1<version>")
		return generatedForm.ReplaceAllString(text, "$1<generated>")
	case json.Number:
		return found
	default:
		return value
	}
}

func numbered(known map[string]string, what, value string) string {
	if name, ok := known[value]; ok {
		return name
	}
	known[value] = fmt.Sprintf("%s-%d", what, len(known)+1)
	return known[value]
}
