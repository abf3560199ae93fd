package suite

import (
	"fmt"
	"net/http"
)

// From version 0 a server tells what its cache holds, and that may come after the answer to a write: a sequence waits until
// it is cached.
var watchSequences = []sequence{
	{"watch-from-a-version", func(s *session) {
		from := s.get("list", configMaps).version()
		s.post("before", configMaps, configMap("early", ""), silent)
		w := s.watch("events", configMaps+"?watch=true&resourceVersion="+from)
		s.post("add", configMaps, configMap("one", `"a":"1"`), silent)
		s.patch("modify", mergePatch, configMaps+"/one", `{"data":{"a":"2"}}`, silent)
		s.put("no change", configMaps+"/one", configMap("one", `"a":"2"`), silent)
		s.post("a second", configMaps, `{"metadata":{"name":"two","finalizers":["example.com/a"]}}`, silent)
		s.delete("delete", configMaps+"/one", "", silent)
		s.delete("delete the held one", configMaps+"/two", "", silent)
		s.patch("let it go", mergePatch, configMaps+"/two", `{"metadata":{"finalizers":null}}`, silent)
		w.expect(7)
	}},
	{"watch-widgets-from-a-version", func(s *session) {
		from := s.get("list", widgets).version()
		w := s.watch("events", widgets+"?watch=1&allowWatchBookmarks=true&resourceVersion="+from)
		s.post("add", widgets, widget("one", `"color":"red"`), silent)
		s.patch("status", mergePatch, widgets+"/one/status", `{"status":{"phase":"Up"}}`, silent)
		s.patch("spec", mergePatch, widgets+"/one", `{"spec":{"size":4}}`, silent)
		s.delete("delete", widgets+"/one", "", silent)
		w.expect(4)
	}},
	{"watch-through-a-selector", func(s *session) {
		from := s.get("list", configMaps).version()
		w := s.watch("labels", configMaps+"?watch=true&labelSelector=on%3Dyes&resourceVersion="+from)
		named := s.watch("a name", configMaps+"?watch=true&fieldSelector=metadata.name%3Dtwo&resourceVersion="+from)
		s.post("out", configMaps, withLabels("one", `"on":"no"`), silent)
		s.patch("comes in", mergePatch, configMaps+"/one", `{"metadata":{"labels":{"on":"yes"}}}`, silent)
		s.patch("stays in", mergePatch, configMaps+"/one", `{"data":{"a":"b"}}`, silent)
		s.patch("goes out", mergePatch, configMaps+"/one", `{"metadata":{"labels":{"on":"no"}}}`, silent)
		s.patch("stays out", mergePatch, configMaps+"/one", `{"data":{"a":"c"}}`, silent)
		s.delete("deleted outside", configMaps+"/one", "", silent)
		s.post("two", configMaps, withLabels("two", `"on":"yes"`), silent)
		s.delete("deleted inside", configMaps+"/two", "", silent)
		w.expect(5)
		named.expect(2)
	}},
	{"watch-a-widget-by-field", func(s *session) {
		from := s.get("list", widgets).version()
		w := s.watch("red ones", widgets+"?watch=true&fieldSelector=spec.color%3Dred&resourceVersion="+from)
		s.post("blue", widgets, widget("one", `"color":"blue"`), silent)
		s.patch("red", mergePatch, widgets+"/one", `{"spec":{"color":"red"}}`, silent)
		s.patch("blue again", mergePatch, widgets+"/one", `{"spec":{"color":"blue"}}`, silent)
		w.expect(2)
	}},
	{"watch-without-a-version", func(s *session) {
		s.post("one", configMaps, configMap("one", ""), silent)
		s.post("two", configMaps, configMap("two", ""), silent)
		w := s.watch("from now", configMaps+"?watch=true")
		w.expect(2)
		s.eventually("cached", configMaps+"/two?resourceVersion=0", http.StatusOK, silent)
		zero := s.watch("from zero", configMaps+"?watch=true&resourceVersion=0")
		zero.expect(2)
		s.post("three", configMaps, configMap("three", ""), silent)
		w.expect(1)
		zero.expect(1)
	}},
	{"watch-bookmarks", func(s *session) {
		s.post("one", configMaps, configMap("one", ""), silent)
		initial := s.watch("initial events", configMaps+"?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=30")
		initial.expect(2)
		s.post("two", configMaps, configMap("two", ""), silent)
		initial.expect(1)
		s.post("a widget", widgets, widget("one", `"color":"red"`), silent)
		s.eventually("cached", widgets+"/one?resourceVersion=0", http.StatusOK, silent)
		s.watch("initial widgets", widgets+"?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&resourceVersion=0&timeoutSeconds=30").expect(2)
		s.watch("no initial events", configMaps+"?watch=true&sendInitialEvents=false&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=30").expect(0)
		s.watch("initial events without bookmarks", configMaps+"?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=30").expect(2)
		s.watch("ends by itself", configMaps+"?watch=true&timeoutSeconds=1").end()
	}},
	{"watch-one-object", func(s *session) {
		s.post("one", configMaps, configMap("one", ""), silent)
		s.post("two", configMaps, configMap("two", ""), silent)
		w := s.watch("by path", "/api/v1/watch/namespaces/$NS/configmaps/one")
		all := s.watch("all by path", "/api/v1/watch/namespaces/$NS/configmaps")
		single := s.watch("an object with watch", configMaps+"/one?watch=true")
		w.expect(1)
		all.expect(2)
		single.expect(1)
		s.delete("delete", configMaps+"/one", "", silent)
		w.expect(1)
		all.expect(1)
	}},
	{"watch-too-old", func(s *session) {
		s.post("one", configMaps, configMap("one", ""), silent)
		s.watch("version one of widgets", widgets+"?watch=true&resourceVersion=1").end()
		far := s.watch("far ahead", configMaps+"?watch=true&resourceVersion=99999999&timeoutSeconds=2")
		far.end()
	}},
	{"watch-in-other-forms", func(s *session) {
		s.post("one", widgets, widget("one", `"color":"red"`), silent)
		w := s.watch("as a table", widgets+"?watch=true", accept(asTable))
		w.expect(1)
		s.patch("modify", mergePatch, widgets+"/one", `{"spec":{"color":"blue"}}`, silent)
		w.expect(1)
		s.watch("metadata only", widgets+"?watch=true", accept(asPartial)).expect(1)
		s.watch("a table with bookmarks", widgets+"?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan", accept(asTable)).expect(2)
		s.watch("metadata with bookmarks", widgets+"?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan", accept(asPartial)).expect(2)
	}},
}

// untilCollectorKnows waits until the garbage collector knows what is there of a kind. The real one hears of each kind by
// itself, and an owner that goes before its child is known has none: then a child that was to be left is taken for a waif. It
// hears of a kind's objects in their order, so when a waif that was made last is gone, all before it are known.
func (s *session) untilCollectorKnows(kind string) {
	s.t.Helper()
	s.post("waif", kind, `{"metadata":{"name":"last","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"never","uid":"00000000-0000-0000-0000-000000000001"}]}}`, silent)
	s.eventually("waif", kind+"/last", http.StatusNotFound, silent)
}

var collectorSequences = []sequence{
	{"owners-in-the-background", func(s *session) {
		owner := s.post("owner", configMaps, configMap("owner", ""), silent)
		reference := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":%q}`, owner.text("metadata.uid"))
		s.post("child", secrets, fmt.Sprintf(`{"metadata":{"name":"child","ownerReferences":[%s]}}`, reference))
		s.post("grandchild", configMaps, fmt.Sprintf(`{"metadata":{"name":"grandchild","ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"child","uid":%q}]}}`, s.get("child", secrets+"/child", silent).text("metadata.uid")), silent)
		s.post("an owner that never was", secrets, `{"metadata":{"name":"waif","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"never","uid":"00000000-0000-0000-0000-000000000001"}]}}`, silent)
		second := s.post("second owner", configMaps, configMap("second", ""), silent)
		s.post("a child of two", secrets, fmt.Sprintf(`{"metadata":{"name":"shared","ownerReferences":[%s,{"apiVersion":"v1","kind":"ConfigMap","name":"second","uid":%q}]}}`, reference, second.text("metadata.uid")), silent)
		s.delete("delete", configMaps+"/owner", "")
		s.eventually("child goes", secrets+"/child", http.StatusNotFound)
		s.eventually("grandchild goes", configMaps+"/grandchild", http.StatusNotFound)
		s.eventually("the waif goes", secrets+"/waif", http.StatusNotFound)
		s.get("the shared one stays", secrets+"/shared", fields("metadata.name"))
		s.delete("delete the second", configMaps+"/second", `{"propagationPolicy":"Background"}`)
		s.eventually("the shared one goes", secrets+"/shared", http.StatusNotFound)
	}},
	{"owners-in-the-foreground", func(s *session) {
		owner := s.post("owner", configMaps, configMap("owner", ""), silent)
		s.post("child", secrets, fmt.Sprintf(`{"metadata":{"name":"child","finalizers":["example.com/a"],"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":%q,"blockOwnerDeletion":true}]}}`, owner.text("metadata.uid")), silent)
		s.untilCollectorKnows(secrets)
		s.delete("delete", configMaps+"/owner", `{"propagationPolicy":"Foreground"}`)
		s.get("the owner waits", configMaps+"/owner", fields("metadata.finalizers", "metadata.deletionGracePeriodSeconds"))
		for s.get("child", secrets+"/child", silent).text("metadata.deletionTimestamp") == "" {
		}
		s.patch("the child goes", mergePatch, secrets+"/child", `{"metadata":{"finalizers":null}}`, fields("metadata.finalizers"))
		s.eventually("the owner goes", configMaps+"/owner", http.StatusNotFound)
		s.post("alone", configMaps, configMap("alone", ""), silent)
		s.delete("foreground without children", configMaps+"/alone", `{"propagationPolicy":"Foreground"}`)
		s.eventually("it goes", configMaps+"/alone", http.StatusNotFound)
	}},
	{"orphans", func(s *session) {
		owner := s.post("owner", configMaps, configMap("owner", ""), silent)
		s.post("child", secrets, fmt.Sprintf(`{"metadata":{"name":"child","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":%q}]}}`, owner.text("metadata.uid")), silent)
		s.untilCollectorKnows(secrets)
		s.delete("delete", configMaps+"/owner?propagationPolicy=Orphan", "", fields("status", "metadata.finalizers"))
		s.eventually("the owner goes", configMaps+"/owner", http.StatusNotFound)
		s.get("the child stays", secrets+"/child", fields("metadata.ownerReferences", "metadata.name"))
	}},
	{"a-namespace-ends", func(s *session) {
		s.post("namespace", "/api/v1/namespaces", `{"metadata":{"name":"$NS-ends"}}`, fields("metadata.name", "metadata.labels", "spec", "status"))
		inside := "/api/v1/namespaces/$NS-ends/configmaps"
		s.post("content", inside, configMap("free", ""), silent)
		s.post("held content", inside, `{"metadata":{"name":"held","finalizers":["example.com/a"]}}`, silent)
		s.delete("delete", "/api/v1/namespaces/$NS-ends", "", fields("metadata.name", "spec", "status", "kind"))
		s.eventually("free content goes", inside+"/free", http.StatusNotFound)
		s.post("nothing new", inside, configMap("new", ""))
		s.patch("nothing new by apply", applyPatch, inside+"/new?fieldManager=m", configMap("new", ""))
		s.patch("updates still work", mergePatch, inside+"/held", `{"data":{"a":"b"}}`, fields("data"))
		for {
			conditions, found := at(s.get("conditions", "/api/v1/namespaces/$NS-ends", silent).body, []string{"status", "conditions"})
			if list, _ := conditions.([]any); found && len(list) > 0 {
				break
			}
		}
		s.get("what it waits for", "/api/v1/namespaces/$NS-ends", fields("status"))
		s.delete("delete again", "/api/v1/namespaces/$NS-ends", "", fields("status.phase", "kind", "message", "reason"))
		s.patch("let it go", mergePatch, inside+"/held", `{"metadata":{"finalizers":null}}`, silent)
		s.eventually("the namespace goes", "/api/v1/namespaces/$NS-ends", http.StatusNotFound)
		s.get("list in it", inside, fields("items"))
	}},
	{"namespaces", func(s *session) {
		path := "/api/v1/namespaces/$NS-mine"
		s.post("create", "/api/v1/namespaces", `{"metadata":{"name":"$NS-mine","labels":{"a":"b"}}}`)
		s.patch("label", mergePatch, path, `{"metadata":{"labels":{"a":null,"c":"d"}}}`)
		s.patch("its own label stays", mergePatch, path, `{"metadata":{"labels":{"kubernetes.io/metadata.name":"other"}}}`)
		s.patch("status by the object", mergePatch, path, `{"status":{"phase":"Terminating"}}`)
		s.put("finalizers by finalize", path+"/finalize", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"$NS-mine"},"spec":{"finalizers":["example.com/a","kubernetes"]}}`)
		s.put("finalizers away", path+"/finalize", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"$NS-mine"},"spec":{"finalizers":["kubernetes"]}}`)
		s.post("create again", "/api/v1/namespaces", `{"metadata":{"name":"$NS-mine"}}`)
		s.delete("delete dry", path+"?dryRun=All", "", fields("kind", "status"))
		s.delete("delete", path, "", fields("kind", "status.phase"))
		s.eventually("gone", path, http.StatusNotFound)
	}},
}
