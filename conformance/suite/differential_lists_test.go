package suite

import (
	"encoding/base64"
	"fmt"
	"net/url"
)

func withLabels(name, labels string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"labels":{%s}}}`, name, labels)
}

var listSequences = []sequence{
	{"label-selectors", func(s *session) {
		for name, labels := range map[string]string{"a": `"x":"1"`, "b": `"x":"2","y":"1"`, "c": `"x":"3"`, "d": `"y":"2"`, "e": ``, "f": `"x":""`} {
			s.post("create", configMaps, withLabels(name, labels), silent)
		}
		for _, selector := range []string{
			"x=1", "x==1", "x!=1", "x in (1,2)", "x notin (1,2)", "x", "!x", "x,y", "x!=1,y", "x=", "x in (1), y notin (2)",
			"x>1", "x<3", " x = 1 ", "x in ()", "x in (1,,2)", "!x,!y", "x gt 1", "", ",", "x=1,", "x in (1", "=1", "!x=1", "x==", "a.b/c=d",
		} {
			names := []any{}
			found := s.get("list "+selector, configMaps+"?labelSelector="+url.QueryEscape(selector), silent)
			items, _ := at(found.body, []string{"items"})
			list, _ := items.([]any)
			for _, item := range list {
				name, _ := at(item, []string{"metadata", "name"})
				names = append(names, name)
			}
			s.note("select "+selector, map[string]any{"names": names, "status": found.status, "message": found.text("message"), "reason": found.text("reason")})
		}
	}},
	{"field-selectors", func(s *session) {
		for _, name := range []string{"a", "b", "c"} {
			s.post("create", configMaps, configMap(name, ""), silent)
		}
		s.post("a widget", widgets, widget("red", `"color":"red"`), silent)
		s.post("a widget", widgets, widget("blue", `"color":"blue"`), silent)
		s.post("a secret", secrets, `{"metadata":{"name":"typed"},"type":"example.com/t"}`, silent)
		s.post("a secret", secrets, `{"metadata":{"name":"opaque"}}`, silent)
		s.get("by name", configMaps+"?fieldSelector=metadata.name%3Da")
		s.get("by another name", configMaps+"?fieldSelector=metadata.name!%3Da")
		s.get("by name and namespace", configMaps+"?fieldSelector="+url.QueryEscape("metadata.name=a,metadata.namespace="+s.ns))
		s.get("by another namespace", configMaps+"?fieldSelector=metadata.namespace%3Dother")
		s.get("everywhere by name", "/api/v1/configmaps?fieldSelector="+url.QueryEscape("metadata.name=a,metadata.namespace="+s.ns))
		s.get("a secret by type", secrets+"?fieldSelector=type%3Dexample.com/t")
		s.get("a widget by color", widgets+"?fieldSelector=spec.color%3Dred")
		s.get("a widget by name", widgets+"?fieldSelector=metadata.name%3Dred")
		s.get("by a label as a field", configMaps+"?fieldSelector=metadata.labels.a%3Db")
		s.get("pods by phase", "/api/v1/namespaces/$NS/pods?fieldSelector=status.phase%3DRunning,spec.nodeName%3Dx")
		s.get("events by object", "/api/v1/namespaces/$NS/events?fieldSelector=involvedObject.name%3Dx,reason%3Dy,type%3DWarning")
		s.get("events by a bad field", "/api/v1/namespaces/$NS/events?fieldSelector=message%3Dx")
		s.get("nodes by taint", "/api/v1/nodes?fieldSelector=spec.unschedulable%3Dtrue")
		s.get("namespaces by phase", "/api/v1/namespaces?fieldSelector=status.phase%3DGone")
	}},
	{"pages", func(s *session) {
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			s.post("create", configMaps, configMap(name, ""), silent)
			s.post("create", widgets, widget(name, `"color":"red"`), silent)
		}
		for _, of := range []string{configMaps, widgets} {
			first := s.get("first of "+of, of+"?limit=3")
			next := url.QueryEscape(first.text("metadata.continue"))
			s.post("one in between", of, map[string]string{configMaps: configMap("bb", ""), widgets: widget("bb", `"color":"red"`)}[of], silent)
			s.post("one more behind", of, map[string]string{configMaps: configMap("dd", ""), widgets: widget("dd", `"color":"red"`)}[of], silent)
			second := s.get("second of "+of, of+"?limit=3&continue="+next)
			s.note("the version stays "+of, first.version() == second.version())
			s.get("third of "+of, of+"?limit=3&continue="+url.QueryEscape(second.text("metadata.continue")))
			s.get("the rest of "+of, of+"?continue="+next)
			s.get("a version beside the token of "+of, of+"?limit=3&resourceVersion=5&continue="+next)
			s.get("zero beside the token of "+of, of+"?limit=3&resourceVersion=0&continue="+next, fields("items"))
			s.get("a match beside the token of "+of, of+"?limit=3&resourceVersionMatch=NotOlderThan&continue="+next)
		}
		s.get("exactly all", configMaps+"?limit=9", fields("metadata.continue", "metadata.remainingItemCount"))
		s.get("from the cache", configMaps+"?limit=3&resourceVersion=0", fields("metadata.continue", "metadata.remainingItemCount"))
		s.get("with a selector", configMaps+"?limit=1&labelSelector=!x", fields("metadata.remainingItemCount"))
		s.get("a bad token", configMaps+"?limit=3&continue=bad")
		s.get("no token", configMaps+"?limit=3&continue="+base64.RawURLEncoding.EncodeToString([]byte(`{"v":"meta.k8s.io/v1","rv":0,"start":"x"}`)))
		s.get("a token of another form", configMaps+"?limit=3&continue="+base64.RawURLEncoding.EncodeToString([]byte(`{"v":"meta.k8s.io/v9","rv":5,"start":"x"}`)))
		s.get("limit zero", configMaps+"?limit=0", fields("metadata.continue", "metadata.remainingItemCount"))
	}},
	{"versions-of-lists", func(s *session) {
		first := s.post("create", configMaps, configMap("a", ""), silent)
		s.post("create", configMaps, configMap("b", ""), silent)
		list := s.get("list", configMaps)
		s.get("any", configMaps+"?resourceVersion=0", fields("items"))
		s.get("not older", configMaps+"?resourceVersionMatch=NotOlderThan&resourceVersion="+list.version(), fields("items"))
		s.get("exact, with one only", configMaps+"?resourceVersionMatch=Exact&resourceVersion="+first.version())
		s.get("exact, by limit", configMaps+"?limit=5&resourceVersion="+first.version(), fields("items"))
		s.get("get not older", configMaps+"/a?resourceVersion=0")
		s.get("get too new", configMaps+"/a?resourceVersion=99999999999")
		s.get("list too new", configMaps+"?resourceVersion=99999999999")
		s.get("all namespaces", "/api/v1/configmaps?labelSelector=none", fields("kind", "items"))
	}},
}
