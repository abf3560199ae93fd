package suite

import (
	"fmt"
	"strings"
)

var objectSequences = []sequence{
	{"a-configmaps-life", func(s *session) {
		created := s.post("create", maps, configMap("one", `"a":"1"`))
		s.get("get", maps+"/one")
		s.post("create again", maps, configMap("one", `"a":"2"`))
		stale := fmt.Sprintf(`{"metadata":{"name":"one","resourceVersion":%q},"data":{"a":"%%s"}}`, created.version())
		s.put("put with version", maps+"/one", fmt.Sprintf(stale, "3"))
		s.put("put with stale version", maps+"/one", fmt.Sprintf(stale, "4"))
		s.put("put without version", maps+"/one", `{"metadata":{"name":"one"},"data":{"a":"5"}}`)
		s.put("put the same", maps+"/one", `{"metadata":{"name":"one"},"data":{"a":"5"}}`)
		s.put("put under another name", maps+"/one", `{"metadata":{"name":"two"}}`)
		s.put("put with another uid", maps+"/one", `{"metadata":{"name":"one","uid":"00000000-0000-0000-0000-000000000000"}}`)
		s.put("put without a name", maps+"/one", `{"metadata":{}}`)
		s.put("put what is not there", maps+"/none", `{"metadata":{"name":"none"}}`)
		s.delete("delete", maps+"/one", "")
		s.get("get after delete", maps+"/one")
		s.delete("delete again", maps+"/one", "")
		s.patch("patch what is not there", mergePatch, maps+"/one", `{"data":{}}`)
	}},
	{"a-widgets-life", func(s *session) {
		created := s.post("create", widgets, widget("one", `"color":"red"`))
		s.get("get", widgets+"/one")
		s.post("create again", widgets, widget("one", `"color":"red"`))
		with := func(version, color, rest string) string {
			return fmt.Sprintf(`{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"one"%s%s},"spec":{"color":%q}}`, version, rest, color)
		}
		version := func(v string) string { return fmt.Sprintf(`,"resourceVersion":%q`, v) }
		updated := s.put("put a new spec", widgets+"/one", with(version(created.version()), "blue", ""))
		s.put("put a stale one", widgets+"/one", with(version(created.version()), "green", ""))
		s.put("put without version", widgets+"/one", with("", "green", ""))
		labelled := s.put("put labels: no new generation", widgets+"/one", with(version(updated.version()), "blue", `,"labels":{"a":"b"}`))
		s.put("put the same", widgets+"/one", with(version(labelled.version()), "blue", `,"labels":{"a":"b"}`))
		s.put("put what is not there", widgets+"/none", strings.Replace(with("", "red", ""), `"one"`, `"none"`, 1))
		s.delete("delete", widgets+"/one", "")
		s.get("get after delete", widgets+"/one")
	}},
	{"status-is-apart", func(s *session) {
		s.post("create with status", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"one"},"spec":{"color":"red"},"status":{"phase":"lost"}}`)
		s.patch("patch status", mergePatch, widgets+"/one/status", `{"status":{"phase":"Up","conditions":[{"type":"Ready","status":"True"}]}}`)
		s.patch("patch spec through status", mergePatch, widgets+"/one/status", `{"spec":{"color":"blue"},"metadata":{"labels":{"a":"b"}}}`)
		s.patch("patch status through the object", mergePatch, widgets+"/one", `{"spec":{"color":"blue"},"status":{"phase":"Down"}}`)
		current := s.get("get status", widgets+"/one/status")
		s.put("put status", widgets+"/one/status", fmt.Sprintf(`{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"one","resourceVersion":%q},"spec":{"color":"green"},"status":{"phase":"Put"}}`, current.version()))
		s.put("put without status", widgets+"/one", fmt.Sprintf(`{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"one","resourceVersion":%q},"spec":{"color":"green"}}`, s.get("version", widgets+"/one", silent).version()))
		s.get("status of a kind without status", maps+"/one/status")
		s.post("post to status", widgets+"/one/status", `{}`)
		s.delete("delete status", widgets+"/one/status", "")
	}},
	{"names-are-generated", func(s *session) {
		s.post("generate", maps, `{"metadata":{"generateName":"gen-"}}`)
		s.post("name wins", maps, `{"metadata":{"generateName":"gen-","name":"own"}}`)
		s.post("no name", maps, `{"metadata":{}}`)
		s.post("no metadata", maps, `{}`)
		s.post("a bad prefix", maps, `{"metadata":{"generateName":"Gen_"}}`)
		s.post("generate a widget", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"generateName":"gen-"},"spec":{"color":"red"}}`)
		s.post("a widget without a name", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{},"spec":{"color":"red"}}`)
	}},
	{"names-are-checked", func(s *session) {
		s.post("upper case", maps, configMap("Upper", ""))
		s.post("underscore", maps, configMap("a_b", ""))
		s.post("a dot at the end", maps, configMap("a.", ""))
		s.post("dots inside", maps, configMap("a.b.c", ""))
		s.post("too long", maps, configMap(strings.Repeat("a", 254), ""))
		s.post("a namespace with a dot", "/api/v1/namespaces", `{"metadata":{"name":"a.b"}}`)
		s.post("a widget in upper case", widgets, widget("Upper", `"color":"red"`))
		s.post("a service account", "/api/v1/namespaces/$NS/serviceaccounts", `{"metadata":{"name":"A"}}`)
		s.post("a role with a colon", "/apis/rbac.authorization.k8s.io/v1/namespaces/$NS/roles", `{"metadata":{"name":"a:b"}}`)
		s.post("a role with a slash", "/apis/rbac.authorization.k8s.io/v1/namespaces/$NS/roles", `{"metadata":{"name":"a/b"}}`)
	}},
	{"metadata-is-checked", func(s *session) {
		meta := func(rest string) string { return `{"metadata":{"name":"m",` + rest + `}}` }
		s.post("a bad label value", maps, meta(`"labels":{"a":"not good!"}`))
		s.post("a bad label key", maps, meta(`"labels":{"not good":"a"}`))
		s.post("a label key with a bad prefix", maps, meta(`"labels":{"Bad_Prefix/a":"a"}`))
		s.post("a long label value", maps, meta(`"labels":{"a":"`+strings.Repeat("x", 64)+`"}`))
		s.post("two bad labels", maps, meta(`"labels":{"a b":"c d"}`))
		s.post("a bad annotation key", maps, meta(`"annotations":{"not good":"a"}`))
		s.post("an annotation may hold anything", maps, `{"metadata":{"name":"noted","annotations":{"a/b":"any thing!"}}}`)
		s.post("a number as a label", maps, meta(`"labels":{"a":1}`))
		s.post("a bad finalizer", maps, meta(`"finalizers":["not good"]`))
		s.post("a finalizer without a slash", maps, meta(`"finalizers":["plain"]`))
		s.post("an owner without a uid", maps, meta(`"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x"}]`))
		s.post("an owner without anything", maps, meta(`"ownerReferences":[{}]`))
		s.post("two controllers", maps, meta(`"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"1","controller":true},{"apiVersion":"v1","kind":"ConfigMap","name":"y","uid":"2","controller":true}]`))
		s.post("a widget with a bad label", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"m","labels":{"a":"not good!"}},"spec":{"color":"red"}}`)
		s.post("what the server sets is ignored", maps, `{"metadata":{"name":"forced","uid":"x","creationTimestamp":"2001-01-01T00:00:00Z","generation":7,"deletionTimestamp":"2001-01-01T00:00:00Z","selfLink":"/x"}}`)
		s.post("a version at creation", maps, meta(`"resourceVersion":"5"`))
		s.patch("patch a bad label in", mergePatch, maps+"/noted", `{"metadata":{"labels":{"a":"not good!"}}}`)
		s.patch("patch the uid", mergePatch, maps+"/noted", `{"metadata":{"uid":"00000000-0000-0000-0000-000000000000"}}`)
		s.patch("patch the name", mergePatch, maps+"/noted", `{"metadata":{"name":"other"}}`)
		s.patch("patch the namespace", mergePatch, maps+"/noted", `{"metadata":{"namespace":"other"}}`)
		s.patch("patch the creation time", mergePatch, maps+"/noted", `{"metadata":{"creationTimestamp":"2001-01-01T00:00:00Z"}}`)
	}},
	{"bodies-must-fit", func(s *session) {
		s.post("another namespace", maps, `{"metadata":{"name":"x","namespace":"other"}}`)
		s.post("another kind", maps, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`)
		s.post("an unknown kind", maps, `{"apiVersion":"v1","kind":"Nothing","metadata":{"name":"x"}}`)
		s.post("another version", maps, `{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"x"}}`)
		s.post("kind only", maps, `{"kind":"ConfigMap","metadata":{"name":"kind-only"}}`)
		s.post("no JSON", maps, `{"a"`)
		s.post("a list", maps, `[]`)
		s.post("a text", maps, `"text"`)
		s.post("nothing", maps, "")
		s.post("yaml", maps, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-yaml\n", contentType("application/yaml"))
		s.post("plain text", maps, `{"metadata":{"name":"x"}}`, contentType("text/plain"))
		s.post("no content type", maps, `{"metadata":{"name":"untyped"}}`, contentType(""))
		s.post("a widget without kind", widgets, `{"apiVersion":"conformance.example/v1","metadata":{"name":"x"},"spec":{"color":"red"}}`)
		s.post("a widget without version", widgets, `{"kind":"Widget","metadata":{"name":"x"},"spec":{"color":"red"}}`)
		s.post("a widget of another version", widgets, `{"apiVersion":"conformance.example/v2","kind":"Widget","metadata":{"name":"x"},"spec":{"color":"red"}}`)
		s.post("a widget of another kind", widgets, `{"apiVersion":"conformance.example/v1","kind":"Gadget","metadata":{"name":"x"},"spec":{"color":"red"}}`)
		s.put("put another kind", maps+"/kind-only", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"kind-only"}}`)
		s.put("put another namespace", maps+"/kind-only", `{"metadata":{"name":"kind-only","namespace":"other"}}`)
	}},
	{"finalizers-hold", func(s *session) {
		created := s.post("create", maps, `{"metadata":{"name":"held","finalizers":["example.com/a","example.com/b"]}}`)
		s.delete("delete with another uid", maps+"/held", `{"preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}`)
		s.delete("delete with another version", maps+"/held", `{"preconditions":{"resourceVersion":"1"}}`)
		s.delete("delete", maps+"/held", fmt.Sprintf(`{"preconditions":{"uid":%q}}`, created.text("metadata.uid")))
		s.get("get while held", maps+"/held")
		s.delete("delete again", maps+"/held", "")
		s.post("create over it", maps, configMap("held", ""))
		s.patch("add one more", mergePatch, maps+"/held", `{"metadata":{"finalizers":["example.com/a","example.com/b","example.com/c"]}}`)
		s.patch("change data meanwhile", mergePatch, maps+"/held", `{"data":{"a":"b"}}`)
		s.patch("take one away", jsonPatch, maps+"/held", `[{"op":"remove","path":"/metadata/finalizers/0"}]`)
		s.patch("take the last away", mergePatch, maps+"/held", `{"metadata":{"finalizers":null}}`)
		s.get("gone", maps+"/held")
	}},
	{"a-widget-is-held", func(s *session) {
		s.post("create", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"held","finalizers":["example.com/a"]},"spec":{"color":"red"}}`)
		s.delete("delete", widgets+"/held", `{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background","gracePeriodSeconds":30}`)
		s.patch("add one", mergePatch, widgets+"/held", `{"metadata":{"finalizers":["example.com/a","example.com/c"]}}`)
		s.patch("change the spec meanwhile", mergePatch, widgets+"/held", `{"spec":{"color":"blue"}}`)
		s.patch("let it go", mergePatch, widgets+"/held", `{"metadata":{"finalizers":[]}}`)
		s.get("gone", widgets+"/held")
		s.post("another", widgets, widget("other", `"color":"red"`))
		s.delete("a bad policy", widgets+"/other", `{"propagationPolicy":"Sideways"}`)
		s.delete("policy and orphans", widgets+"/other", `{"propagationPolicy":"Orphan","orphanDependents":true}`)
		s.delete("a bad policy in the query", widgets+"/other?propagationPolicy=Sideways", "")
		s.delete("delete it", widgets+"/other?propagationPolicy=Background", "")
	}},
	{"delete-collection", func(s *session) {
		for _, name := range []string{"a", "b", "c", "d"} {
			label := "odd"
			if name == "b" || name == "d" {
				label = "even"
			}
			s.post("create "+name, maps, fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"n":%q}}}`, name, label), silent)
			s.post("create widget "+name, widgets, fmt.Sprintf(`{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":%q,"labels":{"n":%q}},"spec":{"color":"red"}}`, name, label), silent)
		}
		s.delete("dry", maps+"?labelSelector=n%3Deven&dryRun=All", "")
		s.delete("some", maps+"?labelSelector=n%3Deven", "")
		s.get("left", maps)
		s.delete("one by name", maps+"?fieldSelector=metadata.name%3Da", "")
		s.delete("all", maps, "")
		s.get("none left", maps)
		s.delete("widgets", widgets+"?labelSelector=n%3Deven", "")
		s.delete("all widgets", widgets, `{"propagationPolicy":"Foreground"}`)
		s.delete("of all namespaces", "/apis/conformance.example/v1/widgets", "")
		s.delete("of namespaces", "/api/v1/namespaces", "")
	}},
	{"dry-runs", func(s *session) {
		s.post("create", maps+"?dryRun=All", configMap("dry", `"a":"b"`))
		s.get("nothing there", maps+"/dry")
		s.post("generate", maps+"?dryRun=All", `{"metadata":{"generateName":"gen-"}}`)
		s.post("a bad value", maps+"?dryRun=Some", configMap("dry", ""))
		s.post("really", maps, configMap("dry", `"a":"b"`))
		s.post("twice", maps+"?dryRun=All", configMap("dry", ""))
		s.put("put", maps+"/dry?dryRun=All", configMap("dry", `"a":"c"`))
		s.patch("patch", mergePatch, maps+"/dry?dryRun=All", `{"data":{"a":"d"}}`)
		s.patch("apply", applyPatch, maps+"/dry?dryRun=All&fieldManager=m&force=true", configMap("dry", `"a":"e"`))
		s.patch("apply a new one", applyPatch, maps+"/new?dryRun=All&fieldManager=m", configMap("new", `"a":"e"`))
		s.get("no new one", maps+"/new")
		s.delete("delete", maps+"/dry?dryRun=All", "")
		s.delete("delete by body", maps+"/dry", `{"dryRun":["All"]}`)
		s.delete("delete with a bad value", maps+"/dry", `{"dryRun":["Some"]}`)
		s.get("as it was", maps+"/dry")
		s.post("a widget", widgets+"?dryRun=All", widget("dry", `"color":"red"`))
		s.get("no widget", widgets+"/dry")
	}},
	{"cluster-scoped", func(s *session) {
		class := "/apis/storage.k8s.io/v1/storageclasses"
		s.post("create", class, `{"metadata":{"name":"diff-class","labels":{"diff":"class"}},"provisioner":"example.com/none"}`)
		s.get("get", class+"/diff-class")
		s.get("list", class+"?labelSelector=diff%3Dclass")
		s.get("below a namespace", "/apis/storage.k8s.io/v1/namespaces/$NS/storageclasses/diff-class")
		s.get("a namespaced one without namespace", "/api/v1/configmaps/x")
		s.post("create without namespace", "/api/v1/configmaps", configMap("x", ""))
		s.patch("patch", mergePatch, class+"/diff-class", `{"metadata":{"annotations":{"a":"b"}}}`)
		s.delete("delete", class+"/diff-class", "")
		s.get("gone", class+"/diff-class")
	}},
}
