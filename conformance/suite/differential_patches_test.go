package suite

import "fmt"

var patchSequences = []sequence{
	{"json-patches", func(s *session) {
		s.post("create", configMaps, configMap("one", `"a":"1","b":"2"`), silent)
		s.patch("add", jsonPatch, configMaps+"/one", `[{"op":"add","path":"/data/c","value":"3"}]`)
		s.patch("replace", jsonPatch, configMaps+"/one", `[{"op":"replace","path":"/data/a","value":"9"}]`)
		s.patch("replace what is not there", jsonPatch, configMaps+"/one", `[{"op":"replace","path":"/data/z","value":"9"}]`)
		s.patch("remove", jsonPatch, configMaps+"/one", `[{"op":"remove","path":"/data/b"}]`)
		s.patch("remove what is not there", jsonPatch, configMaps+"/one", `[{"op":"remove","path":"/data/none"}]`)
		s.patch("a test that holds", jsonPatch, configMaps+"/one", `[{"op":"test","path":"/data/a","value":"9"},{"op":"add","path":"/data/d","value":"4"}]`)
		s.patch("a test that fails", jsonPatch, configMaps+"/one", `[{"op":"test","path":"/data/a","value":"8"},{"op":"add","path":"/data/e","value":"5"}]`)
		s.patch("copy and move", jsonPatch, configMaps+"/one", `[{"op":"copy","from":"/data/a","path":"/data/f"},{"op":"move","from":"/data/c","path":"/data/g"}]`)
		s.patch("below nothing", jsonPatch, configMaps+"/one", `[{"op":"add","path":"/none/x","value":"1"}]`)
		s.patch("an unknown operation", jsonPatch, configMaps+"/one", `[{"op":"frob","path":"/data/a"}]`)
		s.patch("no list", jsonPatch, configMaps+"/one", `{"op":"add"}`)
		s.patch("no JSON", jsonPatch, configMaps+"/one", `[{`)
		s.patch("an empty one", jsonPatch, configMaps+"/one", `[]`)
		s.patch("a wrong type", jsonPatch, configMaps+"/one", `[{"op":"add","path":"/data/a","value":7}]`)
		s.patch("an escaped path", jsonPatch, configMaps+"/one", `[{"op":"add","path":"/metadata/annotations","value":{}},{"op":"add","path":"/metadata/annotations/a~1b","value":"x"}]`)
	}},
	{"merge-patches", func(s *session) {
		created := s.post("create", configMaps, configMap("one", `"a":"1","b":"2"`), silent)
		s.patch("merge", mergePatch, configMaps+"/one", `{"data":{"a":null,"c":"3"},"metadata":{"labels":{"x":"y"}}}`)
		s.patch("nothing", mergePatch, configMaps+"/one", `{}`)
		s.patch("the same", mergePatch, configMaps+"/one", `{"data":{"c":"3"}}`)
		s.patch("a stale version", mergePatch, configMaps+"/one", fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"data":{"d":"4"}}`, created.version()))
		s.patch("take a map away", mergePatch, configMaps+"/one", `{"data":null}`)
		s.patch("no object", mergePatch, configMaps+"/one", `[]`)
		s.patch("no JSON", mergePatch, configMaps+"/one", `{"a"`)
		s.patch("a wrong type", mergePatch, configMaps+"/one", `{"data":"text"}`)
		s.patch("another kind", mergePatch, configMaps+"/one", `{"kind":"Secret"}`)
		s.patch("another version", mergePatch, configMaps+"/one", `{"apiVersion":"v2"}`)
		s.patch("an unknown field", mergePatch, configMaps+"/one", `{"unknown":"field"}`)
		s.post("create a widget", widgets, widget("one", `"color":"red","tags":["a","b"],"free":{"x":{"y":1}}`), silent)
		s.patch("merge a widget", mergePatch, widgets+"/one", `{"spec":{"tags":["c"],"free":{"x":{"z":2}},"size":null}}`)
		s.patch("a widget's unknown field", mergePatch, widgets+"/one", `{"spec":{"unknown":"field"}}`)
		s.patch("a widget's bad value", mergePatch, widgets+"/one", `{"spec":{"color":"pink"}}`)
		s.patch("a widget's required field", mergePatch, widgets+"/one", `{"spec":{"color":null}}`)
	}},
	{"strategic-patches", func(s *session) {
		pod := `{"metadata":{"name":"p","finalizers":["example.com/a"]},"spec":{"containers":[{"name":"a","image":"x"},{"name":"b","image":"y","env":[{"name":"E","value":"1"}]}]}}`
		pods := "/api/v1/namespaces/$NS/pods"
		kept := fields("metadata.finalizers", "metadata.labels", "spec.tolerations", "status.conditions")
		images := func(step string) {
			var list []any
			found := s.get(step, pods+"/p", silent)
			containers, _ := at(found.body, []string{"spec", "containers"})
			items, _ := containers.([]any)
			for _, item := range items {
				one, _ := item.(map[string]any)
				list = append(list, []any{one["name"], one["image"], one["env"]})
			}
			s.note(step, list)
		}
		s.post("create", pods, pod, kept)
		s.patch("one container's image", strategicPatch, pods+"/p", `{"spec":{"containers":[{"name":"b","image":"z"}]}}`, kept)
		images("images")
		s.patch("finalizers are joined", strategicPatch, pods+"/p", `{"metadata":{"finalizers":["example.com/b"],"labels":{"l":"m"}}}`, kept)
		s.patch("a condition", strategicPatch, pods+"/p/status", `{"status":{"conditions":[{"type":"X","status":"True"}]}}`, kept)
		s.patch("another condition", strategicPatch, pods+"/p/status", `{"status":{"conditions":[{"type":"Y","status":"False"},{"type":"X","status":"False"}]}}`, kept)
		s.patch("a condition goes", strategicPatch, pods+"/p/status", `{"status":{"conditions":[{"type":"X","$patch":"delete"}]}}`, kept)
		s.patch("a finalizer goes", strategicPatch, pods+"/p", `{"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/a"]}}`, kept)
		s.patch("a container more", strategicPatch, pods+"/p", `{"spec":{"containers":[{"name":"c","image":"z"}]}}`, fields("reason", "status"))
		images("no more images")
		s.post("create a map", configMaps, configMap("one", `"a":"1","b":"2"`), silent)
		s.patch("replace a map", strategicPatch, configMaps+"/one", `{"data":{"$patch":"replace","c":"3"}}`)
		s.patch("a null", strategicPatch, configMaps+"/one", `{"data":{"c":null,"d":"4"}}`)
		s.patch("no object", strategicPatch, configMaps+"/one", `[]`)
		s.patch("a wrong type", strategicPatch, configMaps+"/one", `{"data":"text"}`)
		s.patch("finalizers away", mergePatch, pods+"/p", `{"metadata":{"finalizers":null}}`, fields("metadata.finalizers"))
		s.delete("pod away", pods+"/p?gracePeriodSeconds=0", "", fields("metadata.name"))
	}},
}

var applySequences = []sequence{
	{"apply-a-configmap", func(s *session) {
		one := configMaps + "/one?fieldManager="
		s.patch("create", applyPatch, one+"m1", configMap("one", `"a":"1","b":"2"`))
		s.patch("the same", applyPatch, one+"m1", configMap("one", `"a":"1","b":"2"`))
		s.patch("one field less", applyPatch, one+"m1", configMap("one", `"a":"1"`))
		s.patch("another manager's own", applyPatch, one+"m2", configMap("one", `"c":"3"`))
		s.patch("the same value is shared", applyPatch, one+"m2", configMap("one", `"a":"1","c":"3"`))
		s.patch("a conflict", applyPatch, one+"m2", configMap("one", `"a":"2","c":"3"`))
		s.patch("two conflicts", applyPatch, one+"m3", configMap("one", `"a":"2","c":"4"`))
		s.patch("force", applyPatch, one+"m2&force=true", configMap("one", `"a":"2","c":"3"`))
		s.patch("the first one lets go", applyPatch, one+"m1", configMap("one", ``))
		s.get("what is left", configMaps+"/one")
		s.patch("yaml", applyPatch, one+"m1", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n  labels:\n    a: b\n")
	}},
	{"apply-and-update", func(s *session) {
		one := configMaps + "/one?fieldManager="
		s.post("create", configMaps+"?fieldManager=creator", configMap("one", `"a":"1"`))
		s.patch("apply what it has", applyPatch, one+"applier", configMap("one", `"a":"1","b":"2"`))
		s.patch("conflict with the creator", applyPatch, one+"applier", configMap("one", `"a":"2","b":"2"`))
		s.patch("conflict forced", applyPatch, one+"applier&force=true", configMap("one", `"a":"2","b":"2"`))
		s.patch("an update takes a field", mergePatch, one+"updater", `{"data":{"b":"3"}}`)
		s.patch("conflict with the updater", applyPatch, one+"applier", configMap("one", `"a":"2","b":"2"`))
		s.put("a put", one+"putter", configMap("one", `"a":"2","b":"3","c":"4"`))
		s.patch("an update removes a field", mergePatch, one+"updater", `{"data":{"a":null}}`)
		s.patch("without a manager's name", mergePatch, configMaps+"/one", `{"metadata":{"annotations":{"x":"y"}}}`)
		s.patch("managed fields are cleared", mergePatch, configMaps+"/one", `{"metadata":{"managedFields":[{}]}}`)
		s.patch("applied after that", applyPatch, one+"applier", configMap("one", `"b":"5"`))
	}},
	{"apply-bad-things", func(s *session) {
		s.patch("no kind", applyPatch, configMaps+"/x?fieldManager=m", `{"apiVersion":"v1","metadata":{"name":"x"}}`)
		s.patch("no version", applyPatch, configMaps+"/x?fieldManager=m", `{"kind":"ConfigMap","metadata":{"name":"x"}}`)
		s.patch("another name", applyPatch, configMaps+"/x?fieldManager=m", configMap("y", ""))
		s.patch("no name", applyPatch, configMaps+"/x?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap"}`)
		s.patch("another kind", applyPatch, configMaps+"/x?fieldManager=m", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`)
		s.patch("managed fields", applyPatch, configMaps+"/x?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","managedFields":[{"manager":"a"}]}}`)
		s.patch("an unknown field", applyPatch, configMaps+"/x?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"unknown":1}`)
		s.patch("a wrong type", applyPatch, configMaps+"/x?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":["a"]}`)
		s.patch("no yaml", applyPatch, configMaps+"/x?fieldManager=m", `{"apiVersion`)
		s.patch("a status that is not there", applyPatch, widgets+"/none/status?fieldManager=m", widget("none", `"color":"red"`))
		s.patch("a widget's unknown field", applyPatch, widgets+"/x?fieldManager=m", widget("x", `"color":"red","unknown":1`))
		s.patch("a widget's missing field", applyPatch, widgets+"/x?fieldManager=m", widget("x", `"size":3`))
		s.patch("a version at creation", applyPatch, configMaps+"/x?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","resourceVersion":"5"}}`)
		s.patch("a uid at creation", applyPatch, configMaps+"/x?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","uid":"00000000-0000-0000-0000-000000000000"}}`)
	}},
	{"apply-a-widget", func(s *session) {
		one := widgets + "/one?fieldManager="
		s.patch("create", applyPatch, one+"m1", widget("one", `"color":"red","parts":[{"name":"a"},{"name":"b","count":2}],"tags":["x"],"atom":{"k":"v"},"plain":["p","q"]`))
		s.patch("another's part", applyPatch, one+"m2", widget("one", `"parts":[{"name":"c","count":3}],"tags":["y"]`))
		s.patch("another's field of the same part", applyPatch, one+"m2", widget("one", `"parts":[{"name":"c","count":3},{"name":"b","note":"n"}],"tags":["y"]`))
		s.patch("a part's field in conflict", applyPatch, one+"m2", widget("one", `"parts":[{"name":"b","count":9}]`))
		s.patch("an atomic list in conflict", applyPatch, one+"m2", widget("one", `"plain":["r"]`))
		s.patch("an atomic map in conflict", applyPatch, one+"m2", widget("one", `"atom":{"l":"w"}`))
		s.patch("an atomic map by force", applyPatch, one+"m2&force=true", widget("one", `"atom":{"l":"w"}`))
		s.patch("parts go", applyPatch, one+"m1", widget("one", `"color":"red","parts":[{"name":"a"}]`))
		s.patch("its status", applyPatch, widgets+"/one/status?fieldManager=m1", `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"one"},"status":{"phase":"Up","conditions":[{"type":"A","status":"True"}]}}`)
		s.patch("another's condition", applyPatch, widgets+"/one/status?fieldManager=m2", `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"one"},"status":{"conditions":[{"type":"B","status":"True"}]}}`)
		s.patch("a status update", mergePatch, widgets+"/one/status?fieldManager=m3", `{"status":{"phase":"Down"}}`)
		s.patch("a status in conflict", applyPatch, widgets+"/one/status?fieldManager=m1", `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"one"},"status":{"phase":"Up"}}`)
		s.patch("the same part twice", applyPatch, one+"m1", widget("one", `"color":"red","parts":[{"name":"a"},{"name":"a"}]`))
		s.get("in the end", widgets+"/one")
	}},
	{"apply-a-deployment", func(s *session) {
		path := "/apis/apps/v1/namespaces/$NS/deployments/d?fieldManager="
		kept := fields("spec.replicas", "metadata.managedFields", "metadata.generation", "message", "details")
		body := func(replicas, containers string) string {
			return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{%s"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[%s]}}}}`, replicas, containers)
		}
		s.patch("create", applyPatch, path+"m1", body(`"replicas":0,`, `{"name":"c","image":"i"}`), kept)
		s.patch("another's container", applyPatch, path+"m2", body("", `{"name":"d","image":"i","env":[{"name":"E","value":"1"}],"ports":[{"containerPort":80}]}`), kept)
		s.patch("a conflict", applyPatch, path+"m2", body(`"replicas":1,`, `{"name":"c","image":"j"}`), kept)
		s.delete("delete", "/apis/apps/v1/namespaces/$NS/deployments/d", "")
	}},
}
