package suite

import (
	"fmt"
	"strings"
)

var objectSequences = []sequence{
	{"a-configmaps-life", func(s *session) {
		created := s.post("create", configMaps, configMap("one", `"a":"1"`))
		s.get("get", configMaps+"/one")
		s.post("create again", configMaps, configMap("one", `"a":"2"`))
		stale := fmt.Sprintf(`{"metadata":{"name":"one","resourceVersion":%q},"data":{"a":"%%s"}}`, created.version())
		s.put("put with version", configMaps+"/one", fmt.Sprintf(stale, "3"))
		s.put("put with stale version", configMaps+"/one", fmt.Sprintf(stale, "4"))
		s.put("put without version", configMaps+"/one", `{"metadata":{"name":"one"},"data":{"a":"5"}}`)
		s.put("put the same", configMaps+"/one", `{"metadata":{"name":"one"},"data":{"a":"5"}}`)
		s.put("put under another name", configMaps+"/one", `{"metadata":{"name":"two"}}`)
		s.put("put with another uid", configMaps+"/one", `{"metadata":{"name":"one","uid":"00000000-0000-0000-0000-000000000000"}}`)
		s.put("put without a name", configMaps+"/one", `{"metadata":{}}`)
		s.put("put what is not there", configMaps+"/none", `{"metadata":{"name":"none"}}`)
		s.delete("delete", configMaps+"/one", "")
		s.get("get after delete", configMaps+"/one")
		s.delete("delete again", configMaps+"/one", "")
		s.patch("patch what is not there", mergePatch, configMaps+"/one", `{"data":{}}`)
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
		s.get("status of a kind without status", configMaps+"/one/status")
		s.post("post to status", widgets+"/one/status", `{}`)
		s.delete("delete status", widgets+"/one/status", "")
	}},
	{"names-are-generated", func(s *session) {
		s.post("generate", configMaps, `{"metadata":{"generateName":"gen-"}}`)
		s.post("name wins", configMaps, `{"metadata":{"generateName":"gen-","name":"own"}}`)
		s.post("no name", configMaps, `{"metadata":{}}`)
		s.post("no metadata", configMaps, `{}`)
		s.post("a bad prefix", configMaps, `{"metadata":{"generateName":"Gen_"}}`)
		s.post("generate a widget", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"generateName":"gen-"},"spec":{"color":"red"}}`)
		s.post("a widget without a name", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{},"spec":{"color":"red"}}`)
	}},
	{"names-are-checked", func(s *session) {
		s.post("upper case", configMaps, configMap("Upper", ""))
		s.post("underscore", configMaps, configMap("a_b", ""))
		s.post("a dot at the end", configMaps, configMap("a.", ""))
		s.post("dots inside", configMaps, configMap("a.b.c", ""))
		s.post("too long", configMaps, configMap(strings.Repeat("a", 254), ""))
		s.post("a namespace with a dot", "/api/v1/namespaces", `{"metadata":{"name":"a.b"}}`)
		s.post("a widget in upper case", widgets, widget("Upper", `"color":"red"`))
		s.post("a service account", "/api/v1/namespaces/$NS/serviceaccounts", `{"metadata":{"name":"A"}}`)
		s.post("a role with a colon", "/apis/rbac.authorization.k8s.io/v1/namespaces/$NS/roles", `{"metadata":{"name":"a:b"}}`)
		s.post("a role with a slash", "/apis/rbac.authorization.k8s.io/v1/namespaces/$NS/roles", `{"metadata":{"name":"a/b"}}`)
	}},
	{"metadata-is-checked", func(s *session) {
		meta := func(rest string) string { return `{"metadata":{"name":"m",` + rest + `}}` }
		s.post("a bad label value", configMaps, meta(`"labels":{"a":"not good!"}`))
		s.post("a bad label key", configMaps, meta(`"labels":{"not good":"a"}`))
		s.post("a label key with a bad prefix", configMaps, meta(`"labels":{"Bad_Prefix/a":"a"}`))
		s.post("a long label value", configMaps, meta(`"labels":{"a":"`+strings.Repeat("x", 64)+`"}`))
		s.post("two bad labels", configMaps, meta(`"labels":{"a b":"c d"}`))
		s.post("a bad annotation key", configMaps, meta(`"annotations":{"not good":"a"}`))
		s.post("an annotation may hold anything", configMaps, `{"metadata":{"name":"noted","annotations":{"a/b":"any thing!"}}}`)
		s.post("a number as a label", configMaps, meta(`"labels":{"a":1}`))
		s.post("a bad finalizer", configMaps, meta(`"finalizers":["not good"]`))
		s.post("a finalizer without a slash", configMaps, meta(`"finalizers":["plain"]`))
		s.post("an owner without a uid", configMaps, meta(`"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x"}]`))
		s.post("an owner without anything", configMaps, meta(`"ownerReferences":[{}]`))
		s.post("two controllers", configMaps, meta(`"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"1","controller":true},{"apiVersion":"v1","kind":"ConfigMap","name":"y","uid":"2","controller":true}]`))
		s.post("a widget with a bad label", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"m","labels":{"a":"not good!"}},"spec":{"color":"red"}}`)
		s.post("what the server sets is ignored", configMaps, `{"metadata":{"name":"forced","uid":"x","creationTimestamp":"2001-01-01T00:00:00Z","generation":7,"deletionTimestamp":"2001-01-01T00:00:00Z","selfLink":"/x"}}`)
		s.post("a version at creation", configMaps, meta(`"resourceVersion":"5"`))
		s.patch("patch a bad label in", mergePatch, configMaps+"/noted", `{"metadata":{"labels":{"a":"not good!"}}}`)
		s.patch("patch the uid", mergePatch, configMaps+"/noted", `{"metadata":{"uid":"00000000-0000-0000-0000-000000000000"}}`)
		s.patch("patch the name", mergePatch, configMaps+"/noted", `{"metadata":{"name":"other"}}`)
		s.patch("patch the namespace", mergePatch, configMaps+"/noted", `{"metadata":{"namespace":"other"}}`)
		s.patch("patch the creation time", mergePatch, configMaps+"/noted", `{"metadata":{"creationTimestamp":"2001-01-01T00:00:00Z"}}`)
	}},
	{"bodies-must-fit", func(s *session) {
		s.post("another namespace", configMaps, `{"metadata":{"name":"x","namespace":"other"}}`)
		s.post("another kind", configMaps, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`)
		s.post("an unknown kind", configMaps, `{"apiVersion":"v1","kind":"Nothing","metadata":{"name":"x"}}`)
		s.post("another version", configMaps, `{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"x"}}`)
		s.post("kind only", configMaps, `{"kind":"ConfigMap","metadata":{"name":"kind-only"}}`)
		s.post("no JSON", configMaps, `{"a"`)
		s.post("a list", configMaps, `[]`)
		s.post("a text", configMaps, `"text"`)
		s.post("nothing", configMaps, "")
		s.post("yaml", configMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-yaml\n", contentType("application/yaml"))
		s.post("plain text", configMaps, `{"metadata":{"name":"x"}}`, contentType("text/plain"))
		s.post("no content type", configMaps, `{"metadata":{"name":"untyped"}}`, contentType(""))
		s.post("a widget without kind", widgets, `{"apiVersion":"conformance.example/v1","metadata":{"name":"x"},"spec":{"color":"red"}}`)
		s.post("a widget without version", widgets, `{"kind":"Widget","metadata":{"name":"x"},"spec":{"color":"red"}}`)
		s.post("a widget of another version", widgets, `{"apiVersion":"conformance.example/v2","kind":"Widget","metadata":{"name":"x"},"spec":{"color":"red"}}`)
		s.post("a widget of another kind", widgets, `{"apiVersion":"conformance.example/v1","kind":"Gadget","metadata":{"name":"x"},"spec":{"color":"red"}}`)
		s.put("put another kind", configMaps+"/kind-only", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"kind-only"}}`)
		s.put("put another namespace", configMaps+"/kind-only", `{"metadata":{"name":"kind-only","namespace":"other"}}`)
	}},
	{"finalizers-hold", func(s *session) {
		created := s.post("create", configMaps, `{"metadata":{"name":"held","finalizers":["example.com/a","example.com/b"]}}`)
		s.delete("delete with another uid", configMaps+"/held", `{"preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}`)
		s.delete("delete with another version", configMaps+"/held", `{"preconditions":{"resourceVersion":"1"}}`)
		s.delete("delete", configMaps+"/held", fmt.Sprintf(`{"preconditions":{"uid":%q}}`, created.text("metadata.uid")))
		s.get("get while held", configMaps+"/held")
		s.delete("delete again", configMaps+"/held", "")
		s.post("create over it", configMaps, configMap("held", ""))
		s.patch("add one more", mergePatch, configMaps+"/held", `{"metadata":{"finalizers":["example.com/a","example.com/b","example.com/c"]}}`)
		s.patch("change data meanwhile", mergePatch, configMaps+"/held", `{"data":{"a":"b"}}`)
		s.patch("take one away", jsonPatch, configMaps+"/held", `[{"op":"remove","path":"/metadata/finalizers/0"}]`)
		s.patch("take the last away", mergePatch, configMaps+"/held", `{"metadata":{"finalizers":null}}`)
		s.get("gone", configMaps+"/held")
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
			s.post("create "+name, configMaps, fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"n":%q}}}`, name, label), silent)
			s.post("create widget "+name, widgets, fmt.Sprintf(`{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":%q,"labels":{"n":%q}},"spec":{"color":"red"}}`, name, label), silent)
		}
		s.delete("dry", configMaps+"?labelSelector=n%3Deven&dryRun=All", "")
		s.delete("some", configMaps+"?labelSelector=n%3Deven", "")
		s.get("left", configMaps)
		s.delete("one by name", configMaps+"?fieldSelector=metadata.name%3Da", "")
		s.delete("all", configMaps, "")
		s.get("none left", configMaps)
		s.delete("widgets", widgets+"?labelSelector=n%3Deven", "")
		s.delete("all widgets", widgets, `{"propagationPolicy":"Foreground"}`)
		s.delete("of all namespaces", "/apis/conformance.example/v1/widgets", "")
		s.delete("of namespaces", "/api/v1/namespaces", "")
	}},
	{"dry-runs", func(s *session) {
		s.post("create", configMaps+"?dryRun=All", configMap("dry", `"a":"b"`))
		s.get("nothing there", configMaps+"/dry")
		s.post("generate", configMaps+"?dryRun=All", `{"metadata":{"generateName":"gen-"}}`)
		s.post("a bad value", configMaps+"?dryRun=Some", configMap("dry", ""))
		s.post("really", configMaps, configMap("dry", `"a":"b"`))
		s.post("twice", configMaps+"?dryRun=All", configMap("dry", ""))
		s.put("put", configMaps+"/dry?dryRun=All", configMap("dry", `"a":"c"`))
		s.patch("patch", mergePatch, configMaps+"/dry?dryRun=All", `{"data":{"a":"d"}}`)
		s.patch("apply", applyPatch, configMaps+"/dry?dryRun=All&fieldManager=m&force=true", configMap("dry", `"a":"e"`))
		s.patch("apply a new one", applyPatch, configMaps+"/new?dryRun=All&fieldManager=m", configMap("new", `"a":"e"`))
		s.get("no new one", configMaps+"/new")
		s.delete("delete", configMaps+"/dry?dryRun=All", "")
		s.delete("delete by body", configMaps+"/dry", `{"dryRun":["All"]}`)
		s.delete("delete with a bad value", configMaps+"/dry", `{"dryRun":["Some"]}`)
		s.get("as it was", configMaps+"/dry")
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
