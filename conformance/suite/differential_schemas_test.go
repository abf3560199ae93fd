package suite

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

var schemaSequences = []sequence{
	{"strict-fields-of-widgets", func(s *session) {
		unknown := widget("w", `"color":"red","unknown":1,"nested":{"deep":{"other":2}},"parts":[{"name":"a","odd":3}]`)
		s.post("strict", widgets+"?fieldValidation=Strict", unknown)
		s.post("warn", widgets+"?fieldValidation=Warn", unknown)
		s.delete("away", widgets+"/w", "", silent)
		s.post("ignore", widgets+"?fieldValidation=Ignore", unknown)
		s.delete("away", widgets+"/w", "", silent)
		s.post("by default", widgets, unknown)
		s.patch("patch strictly", mergePatch, widgets+"/w?fieldValidation=Strict", `{"spec":{"unknown":1}}`)
		s.patch("patch with a warning", mergePatch, widgets+"/w?fieldValidation=Warn", `{"spec":{"unknown":1}}`)
		// One field only: of several, the real server names them in no certain order and number.
		one := widget("w", `"color":"red","unknown":1`)
		s.patch("apply strictly", applyPatch, widgets+"/w?fieldValidation=Strict&fieldManager=m", one)
		twice := `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"x"},"spec":{"color":"red","color":"blue"}}`
		s.post("a field twice, strict", widgets+"?fieldValidation=Strict", twice)
		s.post("a field twice, warn", widgets+"?fieldValidation=Warn&dryRun=All", twice)
		s.post("unknown metadata, strict", widgets+"?fieldValidation=Strict", `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"x","unknown":"y"},"spec":{"color":"red"}}`)
		s.post("unknown beside spec", widgets+"?fieldValidation=Strict", `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"x"},"spec":{"color":"red"},"spek":{}}`)
		s.post("free fields are free", widgets+"?fieldValidation=Strict", widget("free", `"color":"red","free":{"any":{"thing":[1]}},"labels":{"a":"b"}`))
	}},
	{"strict-fields-of-configmaps", func(s *session) {
		unknown := `{"metadata":{"name":"m"},"data":{"a":"b"},"datum":{"c":"d"}}`
		s.post("strict", configMaps+"?fieldValidation=Strict", unknown)
		s.post("warn", configMaps+"?fieldValidation=Warn", unknown)
		s.delete("away", configMaps+"/m", "", silent)
		s.post("ignore", configMaps+"?fieldValidation=Ignore", unknown)
		s.delete("away", configMaps+"/m", "", silent)
		s.post("by default", configMaps, unknown)
		s.patch("patch strictly", mergePatch, configMaps+"/m?fieldValidation=Strict", `{"datum":{}}`)
		s.put("put strictly", configMaps+"/m?fieldValidation=Strict", unknown)
		s.post("twice", configMaps+"?fieldValidation=Strict", `{"metadata":{"name":"x"},"data":{"a":"b","a":"c"}}`)
		s.post("metadata", configMaps+"?fieldValidation=Strict", `{"metadata":{"name":"x","lables":{"a":"b"}}}`)
		s.post("another case", configMaps+"?fieldValidation=Strict", `{"metadata":{"name":"x"},"Data":{"a":"b"}}`)
		s.post("wrong types", configMaps, `{"metadata":{"name":"x"},"data":{"a":1}}`)
		s.post("a wrong map", configMaps, `{"metadata":{"name":"x"},"data":"text"}`)
		s.post("wrong metadata", configMaps, `{"metadata":"x"}`)
		s.post("a number as a name", configMaps, `{"metadata":{"name":7}}`)
		s.post("a secret strictly", secrets+"?fieldValidation=Strict", `{"metadata":{"name":"x"},"stringdata":{"a":"b"}}`)
		s.post("a pod strictly", "/api/v1/namespaces/$NS/pods?fieldValidation=Strict", `{"metadata":{"name":"x"},"spec":{"containers":[{"name":"a","image":"b","imagePullPolice":"Always"}],"restartpolicy":"Never"}}`)
		s.post("a pod of wrong types", "/api/v1/namespaces/$NS/pods", `{"metadata":{"name":"x"},"spec":{"containers":"none"}}`)
	}},
	{"values-of-widgets", func(s *session) {
		try := func(step, spec string) { s.post(step, widgets, widget("w", spec)) }
		try("an enum", `"color":"pink"`)
		try("required", `"size":3`)
		s.post("no spec", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"w"}}`)
		s.post("spec is null", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"w"},"spec":null}`)
		s.post("spec is a text", widgets, `{"apiVersion":"conformance.example/v1","kind":"Widget","metadata":{"name":"w"},"spec":"x"}`)
		try("too small", `"color":"red","size":0`)
		try("too big", `"color":"red","size":11`)
		try("a text as a number", `"color":"red","size":"3"`)
		try("a fraction", `"color":"red","size":2.5`)
		try("a number as a text", `"color":3`)
		try("a bool as a text", `"color":"red","shiny":"true"`)
		try("a pattern", `"color":"red","code":"ABC"`)
		try("too long", `"color":"red","code":"abcd"`)
		try("a date", `"color":"red","when":"tomorrow"`)
		try("a port of neither", `"color":"red","port":true`)
		try("too many", `"color":"red","tags":["a","b","c","d"]`)
		try("twice in a set", `"color":"red","tags":["a","a"]`)
		try("a list as a text", `"color":"red","tags":"a"`)
		try("an item of a wrong type", `"color":"red","tags":[1]`)
		try("twice in a map list", `"color":"red","parts":[{"name":"a"},{"name":"a"}]`)
		try("a key is missing", `"color":"red","parts":[{"count":1}]`)
		try("a wrong map value", `"color":"red","labels":{"a":1}`)
		try("several", `"color":"pink","size":99,"shiny":1`)
		try("a null where none may be", `"color":"red","code":null`)
		try("a null that may be", `"color":"red","nothing":null`)
		s.delete("away", widgets+"/w", "", silent)
		try("good ones", `"color":"red","size":10,"weight":1.5,"shiny":true,"code":"abc","when":"2026-01-02T03:04:05Z","port":"http","tags":["a"],"parts":[{"name":"a"}],"nested":{"deep":{}}`)
		s.patch("a status of a wrong type", mergePatch, widgets+"/w/status", `{"status":{"phase":7}}`)
		s.patch("a status without what it needs", mergePatch, widgets+"/w/status", `{"status":{"conditions":[{"type":"A"}]}}`)
		s.patch("a status with more", mergePatch, widgets+"/w/status", `{"status":{"phase":"A","more":1}}`)
	}},
	{"real-crds", func(s *session) {
		forklift := "/apis/forklift.konveyor.io/v1beta1/namespaces/$NS/"
		s.post("a plan with an invented field", forklift+"plans?fieldValidation=Strict&dryRun=All", `{"apiVersion":"forklift.konveyor.io/v1beta1","kind":"Plan","metadata":{"name":"p"},"spec":{"map":{"network":{},"storage":{}},"provider":{"source":{},"destination":{}},"targetNamespace":"x","vms":[],"invented":true}}`)
		s.post("a plan of a wrong type", forklift+"plans?dryRun=All", `{"apiVersion":"forklift.konveyor.io/v1beta1","kind":"Plan","metadata":{"name":"p"},"spec":{"map":{"network":{},"storage":{}},"provider":{"source":{},"destination":{}},"targetNamespace":"x","vms":"all"}}`)
		s.post("a plan without anything", forklift+"plans?dryRun=All", `{"apiVersion":"forklift.konveyor.io/v1beta1","kind":"Plan","metadata":{"name":"p"},"spec":{}}`)
		s.post("a hook", forklift+"hooks?fieldValidation=Strict&dryRun=All", `{"apiVersion":"forklift.konveyor.io/v1beta1","kind":"Hook","metadata":{"name":"h"},"spec":{"image":"i","playbook":"cA=="}}`)
		s.post("a virtual machine", "/apis/kubevirt.io/v1/namespaces/$NS/virtualmachines?fieldValidation=Strict&dryRun=All", `{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachine","metadata":{"name":"v"},"spec":{"runStrategy":"Halted","template":{"spec":{"domain":{"devices":{}}}}}}`)
		s.post("a virtual machine with an invented field", "/apis/kubevirt.io/v1/namespaces/$NS/virtualmachines?fieldValidation=Strict&dryRun=All", `{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachine","metadata":{"name":"v"},"spec":{"running":false,"template":{"spec":{"domain":{"devices":{"diks":[]}}}}}}`)
		s.post("a network", "/apis/k8s.cni.cncf.io/v1/namespaces/$NS/network-attachment-definitions?fieldValidation=Strict&dryRun=All", `{"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{"name":"n"},"spec":{"config":"{}"}}`)
	}},
	{"a-definitions-life", func(s *session) {
		crd := strings.NewReplacer("widgets", "gadgets", "Widget", "Gadget", "widget", "gadget", "conformance.example", "life.example", "[wg]", "[gd]").Replace(shortCRD)
		s.post("create", crds, crd, contentType("application/yaml"), fields("metadata.name", "metadata.generation", "spec", "kind"))
		list := "/apis/life.example/v1/namespaces/$NS/gadgets"
		s.eventually("served", list, http.StatusOK)
		s.eventually("established", crds+"/gadgets.life.example", http.StatusOK, fields("status.acceptedNames", "status.storedVersions"))
		s.post("an object", list, `{"apiVersion":"life.example/v1","kind":"Gadget","metadata":{"name":"g"},"spec":{"color":"red"}}`)
		s.get("its group", "/apis/life.example")
		s.get("its resources", "/apis/life.example/v1", fields("groupVersion", "kind"))
		s.post("a bad definition", crds, strings.Replace(crd, "name: gadgets.life", "name: gidgets.life", 1), contentType("application/yaml"), fields("reason", "code", "message"))
		s.delete("delete", crds+"/gadgets.life.example", "", fields("kind", "metadata.name"))
		s.eventually("no longer served", list, http.StatusNotFound)
		s.eventually("gone", crds+"/gadgets.life.example", http.StatusNotFound)
	}},
}

const shortCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.conformance.example}
spec:
  group: conformance.example
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [wg]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {color: {type: string}}}}}}
`

var formSequences = []sequence{
	{"tables", func(s *session) {
		s.post("a widget", widgets, widget("one", `"color":"red","tags":["a","b"]`), silent)
		s.post("another", widgets, widget("two", `"color":"blue"`), silent)
		s.patch("its status", mergePatch, widgets+"/one/status", `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`, silent)
		s.get("widgets", widgets, accept(asTable))
		s.get("one widget", widgets+"/one", accept(asTable))
		s.get("whole objects", widgets+"?includeObject=Object", accept(asTable))
		s.get("no objects", widgets+"?includeObject=None", accept(asTable))
		s.get("pages", widgets+"?limit=1", accept(asTable))
		s.get("what is not there", widgets+"/none", accept(asTable))
		s.get("an empty list", widgets+"?labelSelector=none", accept(asTable))
		s.post("a map", configMaps, configMap("one", `"a":"1","b":"2"`), silent)
		s.post("a secret", secrets, `{"metadata":{"name":"one"},"data":{"a":"YQ=="}}`, silent)
		s.get("config maps", configMaps, accept(asTable))
		s.get("secrets", secrets, accept(asTable))
		s.get("service accounts", "/api/v1/namespaces/$NS/serviceaccounts", accept(asTable))
		s.get("namespaces", "/api/v1/namespaces?fieldSelector=metadata.name%3D$NS", accept(asTable))
		s.get("pods", "/api/v1/namespaces/$NS/pods", accept(asTable))
		s.get("claims", "/api/v1/namespaces/$NS/persistentvolumeclaims", accept(asTable))
		s.get("deployments", "/apis/apps/v1/namespaces/$NS/deployments", accept(asTable))
		s.get("events", "/api/v1/namespaces/$NS/events", accept(asTable))
		s.eventually("providers", "/apis/forklift.konveyor.io/v1beta1/namespaces/$NS/providers", http.StatusOK, silent)
		s.eventually("machines", "/apis/kubevirt.io/v1/namespaces/$NS/virtualmachines", http.StatusOK, silent)
		s.get("providers", "/apis/forklift.konveyor.io/v1beta1/namespaces/$NS/providers", accept(asTable))
		s.get("machines", "/apis/kubevirt.io/v1/namespaces/$NS/virtualmachines", accept(asTable))
		s.delete("delete as a table", configMaps+"/one", "", accept(asTable))
		s.post("create as a table", configMaps, configMap("two", ""), accept(asTable))
	}},
	{"metadata-only", func(s *session) {
		s.post("a widget", widgets, widget("one", `"color":"red"`), silent)
		s.get("one", widgets+"/one", accept(asPartial))
		s.get("a list", widgets, accept(asPartialList))
		s.get("a list by the kind of one", widgets, accept(asPartial))
		s.patch("a patch", mergePatch, widgets+"/one", `{"metadata":{"labels":{"a":"b"}}}`, accept(asPartial))
		s.get("what is not there", widgets+"/none", accept(asPartial))
		s.post("a map", configMaps, configMap("one", `"a":"1"`), silent)
		s.get("maps", configMaps, accept(asPartialList))
	}},
	{"scale", func(s *session) {
		s.post("a widget", widgets, widget("one", `"color":"red","replicas":2`), silent)
		s.patch("its status", mergePatch, widgets+"/one/status", `{"status":{"replicas":1,"selector":"a=b"}}`, silent)
		s.get("get", widgets+"/one/scale")
		s.patch("patch", mergePatch, widgets+"/one/scale", `{"spec":{"replicas":5}}`)
		current := s.get("the widget", widgets+"/one", fields("spec.replicas", "metadata.generation"))
		_ = current
		s.put("put", widgets+"/one/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"one","namespace":"$NS"},"spec":{"replicas":7}}`)
		s.patch("a bad number", mergePatch, widgets+"/one/scale", `{"spec":{"replicas":-1}}`)
		s.get("what is not there", widgets+"/none/scale")
		deployments := "/apis/apps/v1/namespaces/$NS/deployments"
		s.post("a deployment", deployments, `{"metadata":{"name":"d"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`, silent)
		s.get("a deployment's", deployments+"/d/scale")
		s.patch("scale a deployment", mergePatch, deployments+"/d/scale", `{"spec":{"replicas":3}}`)
		s.get("the deployment", deployments+"/d", fields("spec.replicas"))
		s.get("of a map", configMaps+"/one/scale")
	}},
}

var reviewSequences = []sequence{
	{"reviews", func(s *session) {
		auth := "/apis/authorization.k8s.io/v1/"
		kept := fields("kind", "apiVersion", "spec", "status.allowed", "status.denied", "status.user.username", "status.authenticated", "message", "reason")
		s.post("self", auth+"selfsubjectaccessreviews", `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"list","resource":"pods"}}}`, kept)
		s.post("self for a path", auth+"selfsubjectaccessreviews", `{"spec":{"nonResourceAttributes":{"verb":"get","path":"/version"}}}`, kept)
		s.post("self without anything", auth+"selfsubjectaccessreviews", `{"spec":{}}`, kept)
		s.post("self with both", auth+"selfsubjectaccessreviews", `{"spec":{"resourceAttributes":{"verb":"list"},"nonResourceAttributes":{"verb":"get"}}}`, kept)
		s.post("a service account", auth+"subjectaccessreviews", `{"spec":{"user":"system:serviceaccount:$NS:default","groups":["system:serviceaccounts"],"resourceAttributes":{"namespace":"$NS","verb":"delete","resource":"pods"}}}`, kept)
		s.post("nobody", auth+"subjectaccessreviews", `{"spec":{"resourceAttributes":{"verb":"delete","resource":"pods"}}}`, kept)
		s.post("a master", auth+"subjectaccessreviews", `{"spec":{"user":"x","groups":["system:masters"],"resourceAttributes":{"verb":"delete","resource":"pods"}}}`, kept)
		s.post("local", auth+"namespaces/$NS/localsubjectaccessreviews", `{"metadata":{"namespace":"$NS"},"spec":{"user":"x","groups":["system:masters"],"resourceAttributes":{"namespace":"$NS","verb":"get","resource":"pods"}}}`, kept)
		s.post("rules", auth+"selfsubjectrulesreviews", `{"spec":{"namespace":"$NS"}}`, fields("kind", "spec", "status.incomplete"))
		s.post("a wrong token", "/apis/authentication.k8s.io/v1/tokenreviews", `{"spec":{"token":"wrong"}}`, fields("kind", "status"))
		s.post("the own token", "/apis/authentication.k8s.io/v1/tokenreviews", `{"spec":{"token":"`+s.token+`"}}`, fields("status.authenticated"))
		s.post("no token", "/apis/authentication.k8s.io/v1/tokenreviews", `{"spec":{}}`, fields("status", "message", "reason"))
		s.post("who am i", "/apis/authentication.k8s.io/v1/selfsubjectreviews", `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}`, fields("kind"))
	}},
	{"service-accounts", func(s *session) {
		accounts := "/api/v1/namespaces/$NS/serviceaccounts"
		s.post("create", accounts, `{"metadata":{"name":"robot"}}`)
		token := s.post("a token", accounts+"/robot/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}}`, fields("kind", "apiVersion", "spec.expirationSeconds")).text("status.token")
		s.post("a token of nobody", accounts+"/none/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`)
		robot := asToken(token)
		s.get("it may not list", configMaps, robot)
		s.post("it may not create", configMaps, configMap("x", ""), robot)
		s.get("it may discover", "/apis", robot, fields("kind"))
		s.post("it asks what it may", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", `{"spec":{"resourceAttributes":{"namespace":"$NS","verb":"list","resource":"configmaps"}}}`, robot, fields("status.allowed"))
		s.post("a role", "/apis/rbac.authorization.k8s.io/v1/namespaces/$NS/roles", `{"metadata":{"name":"reader"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list"]},{"apiGroups":[""],"resources":["secrets"],"resourceNames":["mine"],"verbs":["get"]},{"apiGroups":["conformance.example"],"resources":["widgets/status"],"verbs":["*"]}]}`, fields("rules"))
		s.post("a binding", "/apis/rbac.authorization.k8s.io/v1/namespaces/$NS/rolebindings", `{"metadata":{"name":"robot"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"reader"},"subjects":[{"kind":"ServiceAccount","name":"robot","namespace":"$NS"}]}`, fields("roleRef", "subjects"))
		s.eventually("it may list now", configMaps+"?labelSelector=none", http.StatusOK, robot)
		s.post("it may still not create", configMaps, configMap("x", ""), robot)
		s.get("it may not list elsewhere", "/api/v1/namespaces/default/configmaps", robot)
		s.get("it may get one secret", secrets+"/mine", robot)
		s.get("it may not get another", secrets+"/yours", robot)
		s.get("it may see a status", widgets+"/x/status", robot)
		s.get("it may not see a widget", widgets+"/x", robot)
		s.post("it asks again", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", `{"spec":{"resourceAttributes":{"namespace":"$NS","verb":"list","resource":"configmaps"}}}`, robot, fields("status.allowed"))
		s.post("who it is", "/apis/authentication.k8s.io/v1/selfsubjectreviews", `{}`, robot, fields("status.userInfo.username", "status.userInfo.groups"))
		s.delete("delete", accounts+"/robot", "", fields("kind", "metadata.name"))
	}},
}

// shared are the groups that both servers have; what the lab serves of them is compared.
var shared = []string{
	"/api/v1", "/apis/apps/v1", "/apis/batch/v1", "/apis/storage.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1",
	"/apis/authorization.k8s.io/v1", "/apis/authentication.k8s.io/v1", "/apis/apiextensions.k8s.io/v1",
	"/apis/admissionregistration.k8s.io/v1", "/apis/coordination.k8s.io/v1", "/apis/apiregistration.k8s.io/v1",
	"/apis/networking.k8s.io/v1", "/apis/policy/v1", "/apis/scheduling.k8s.io/v1", "/apis/events.k8s.io/v1",
	"/apis/autoscaling/v2", "/apis/discovery.k8s.io/v1",
	"/apis/conformance.example/v1", "/apis/forklift.konveyor.io/v1beta1", "/apis/kubevirt.io/v1", "/apis/cdi.kubevirt.io/v1beta1",
	"/apis/k8s.cni.cncf.io/v1", "/apis/instancetype.kubevirt.io/v1beta1",
}

// served has the names of the resources that the lab has in each shared group.
var served = map[string][]string{}

func learnServed(t *testing.T, lab *side) {
	t.Helper()
	s := &session{side: lab, t: t}
	for _, path := range shared {
		rows, _ := at(s.get("resources", path, silent).body, []string{"resources"})
		list, _ := rows.([]any)
		for _, row := range list {
			name, _ := at(row, []string{"name"})
			served[path] = append(served[path], fmt.Sprint(name))
		}
	}
}

var discoverySequences = []sequence{
	{"discovery", func(s *session) {
		s.get("versions", "/api", fields("kind", "versions"))
		s.get("groups", "/apis", fields("kind", "apiVersion"))
		s.get("a group", "/apis/conformance.example")
		s.get("no group", "/apis/none.example")
		s.get("no version", "/apis/apps/v7")
		for _, path := range shared {
			found := s.get("resources", path, silent)
			rows, _ := at(found.body, []string{"resources"})
			list, _ := rows.([]any)
			byName := map[string]any{}
			for _, row := range list {
				one, _ := row.(map[string]any)
				delete(one, "storageVersionHash")
				name, _ := one["name"].(string)
				byName[name] = one
			}
			s.note("resources of "+path, map[string]any{"status": found.status})
			// The lab serves what MTV's world needs of a group, not all of it.
			for _, name := range served[path] {
				s.note("resource "+name+" of "+path, byName[name])
			}
		}
		aggregated := "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
		for _, path := range []string{"/api", "/apis"} {
			found := s.get("aggregated", path, accept(aggregated), silent)
			items, _ := at(found.body, []string{"items"})
			list, _ := items.([]any)
			for _, item := range list {
				name, _ := at(item, []string{"metadata", "name"})
				if name == "conformance.example" {
					s.note("aggregated widgets", item)
				}
			}
			s.note("aggregated "+path, map[string]any{"kind": found.text("kind"), "apiVersion": found.text("apiVersion")})
		}
	}},
	{"openapi", func(s *session) {
		// The real server tells of a new definition after a moment.
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			index := s.get("index", "/openapi/v3", silent)
			if _, found := at(index.body, []string{"paths", "apis/conformance.example/v1", "serverRelativeURL"}); found {
				break
			}
		}
		document := s.get("widgets", "/openapi/v3/apis/conformance.example/v1", silent)
		schemas, _ := at(document.body, []string{"components", "schemas"})
		all, _ := schemas.(map[string]any)
		for name, schema := range all {
			if !strings.HasSuffix(name, ".Widget") {
				continue
			}
			one, _ := schema.(map[string]any)
			properties, _ := at(schema, []string{"properties", "spec"})
			s.note("the schema of widgets", map[string]any{"name": name, "spec": properties, "kinds": one["x-kubernetes-group-version-kind"], "required": one["required"]})
		}
		for _, path := range []string{"/apis/conformance.example/v1/namespaces/{namespace}/widgets", "/apis/conformance.example/v1/namespaces/{namespace}/widgets/{name}", "/apis/conformance.example/v1/widgets", "/apis/conformance.example/v1/namespaces/{namespace}/widgets/{name}/status"} {
			operations, _ := at(document.body, []string{"paths", path})
			verbs, _ := operations.(map[string]any)
			names := map[string]bool{}
			for verb := range verbs {
				names[verb] = true
			}
			s.note("operations of "+path, sorted(names))
		}
		s.get("no such group", "/openapi/v3/apis/none.example/v1")
	}},
}

var nativeSequences = []sequence{
	{"secrets", func(s *session) {
		s.post("texts", secrets, `{"metadata":{"name":"one"},"data":{"a":"YQ==","b":"Yg=="},"stringData":{"b":"other","c":"text"}}`)
		s.patch("a text", mergePatch, secrets+"/one", `{"stringData":{"d":"more"}}`)
		s.patch("a text by apply", applyPatch, secrets+"/two?fieldManager=m", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"two"},"stringData":{"a":"b"}}`)
		s.patch("a strategic text", strategicPatch, secrets+"/one", `{"stringData":{"e":"more"}}`)
		s.post("no base64", secrets, `{"metadata":{"name":"bad"},"data":{"a":"!"}}`)
		s.post("a bad key", secrets, `{"metadata":{"name":"bad"},"data":{"a b":"YQ=="}}`)
		s.patch("another type", mergePatch, secrets+"/one", `{"type":"example.com/t"}`)
		s.post("immutable", secrets, `{"metadata":{"name":"fixed"},"data":{"a":"YQ=="},"immutable":true}`)
		s.patch("changing it", mergePatch, secrets+"/fixed", `{"data":{"a":"Yg=="}}`)
		s.post("a login without its key", secrets, `{"metadata":{"name":"login"},"type":"kubernetes.io/basic-auth","data":{"a":"YQ=="}}`)
		s.post("a docker config without its key", secrets, `{"metadata":{"name":"docker"},"type":"kubernetes.io/dockerconfigjson","data":{}}`)
	}},
	{"config-maps", func(s *session) {
		s.post("binary", configMaps, `{"metadata":{"name":"one"},"data":{"a":"b"},"binaryData":{"c":"YQ=="}}`)
		s.post("the same key twice", configMaps, `{"metadata":{"name":"two"},"data":{"a":"b"},"binaryData":{"a":"YQ=="}}`)
		s.post("a bad key", configMaps, `{"metadata":{"name":"two"},"data":{"a b":"c"}}`)
		s.post("immutable", configMaps, `{"metadata":{"name":"fixed"},"data":{"a":"b"},"immutable":true}`)
		s.patch("changing it", mergePatch, configMaps+"/fixed", `{"data":{"a":"c"}}`)
		s.patch("labels may change", mergePatch, configMaps+"/fixed", `{"metadata":{"labels":{"a":"b"}}}`)
	}},
	{"pods-and-claims", func(s *session) {
		pods := "/api/v1/namespaces/$NS/pods"
		s.post("a pod", pods, `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`, fields("status", "spec.restartPolicy", "spec.dnsPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.terminationGracePeriodSeconds", "spec.enableServiceLinks", "metadata.generation"))
		s.post("a pod without containers", pods, `{"metadata":{"name":"q"},"spec":{}}`, fields("reason", "code"))
		s.patch("its status", mergePatch, pods+"/p/status", `{"status":{"phase":"Running"}}`, fields("status.phase"))
		s.get("its log", pods+"/p/log", fields("reason"))
		s.delete("delete", pods+"/p?gracePeriodSeconds=0", "", fields("kind", "metadata.name", "metadata.deletionGracePeriodSeconds"))
		s.eventually("gone", pods+"/p", http.StatusNotFound)
		claims := "/api/v1/namespaces/$NS/persistentvolumeclaims"
		s.post("a claim", claims, `{"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"none","resources":{"requests":{"storage":"1Gi"}}}}`, fields("spec", "status", "metadata.finalizers"))
		// One that no provisioner binds meanwhile: nothing is there to fill it.
		s.post("a claim that waits", claims, `{"metadata":{"name":"w"},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"none","resources":{"requests":{"storage":"1Gi"}},"dataSourceRef":{"apiGroup":"forklift.konveyor.io","kind":"OpenstackVolumePopulator","name":"none"}}}`, silent)
		s.patch("a claim's size", mergePatch, claims+"/w", `{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`, fields("reason", "code", "spec.resources"))
		s.post("a claim without size", claims, `{"metadata":{"name":"d"},"spec":{"accessModes":["ReadWriteOnce"]}}`, fields("reason", "code"))
		services := "/api/v1/namespaces/$NS/services"
		s.post("a service", services, `{"metadata":{"name":"s"},"spec":{"selector":{"a":"b"},"ports":[{"port":80}]}}`, fields("spec.type", "spec.sessionAffinity", "spec.ports", "spec.selector", "status"))
		s.delete("service away", services+"/s", "", fields("kind"))
	}},
	{"events", func(s *session) {
		core := "/api/v1/namespaces/$NS/events"
		newer := "/apis/events.k8s.io/v1/namespaces/$NS/events"
		s.post("a core event", core, fmt.Sprintf(`{"metadata":{"name":"one","namespace":%q},"involvedObject":{"kind":"ConfigMap","namespace":%q,"name":"x","apiVersion":"v1"},"reason":"Tested","message":"It was.","type":"Normal","count":2,"firstTimestamp":"2026-01-02T03:04:05Z","lastTimestamp":"2026-01-02T03:04:06Z","source":{"component":"suite"}}`, s.ns, s.ns))
		s.get("seen through the newer group", newer+"/one")
		s.post("a newer event", newer, fmt.Sprintf(`{"metadata":{"name":"two","namespace":%q},"eventTime":"2026-01-02T03:04:05.000000Z","reportingController":"example.com/suite","reportingInstance":"suite-1","action":"Testing","reason":"Tested","regarding":{"kind":"ConfigMap","namespace":%q,"name":"x"},"note":"It was.","type":"Normal"}`, s.ns, s.ns))
		s.get("seen through the older group", core+"/two")
		s.get("listed by the newer", newer)
		s.get("listed by the older", core+"?fieldSelector=involvedObject.name%3Dx", fields("kind"))
		s.get("listed by the newer by object", newer+"?fieldSelector=regarding.name%3Dx", fields("kind", "reason", "message"))
		s.post("an event without an object", core, `{"metadata":{"name":"three"},"reason":"Tested"}`, fields("reason", "code"))
		s.delete("delete through the newer", newer+"/one", "")
		s.get("gone from the older", core+"/one")
	}},
	{"leases", func(s *session) {
		leases := "/apis/coordination.k8s.io/v1/namespaces/$NS/leases"
		s.put("put creates", leases+"/l", `{"metadata":{"name":"l"},"spec":{"holderIdentity":"a","leaseDurationSeconds":30}}`)
		s.post("post", leases, `{"metadata":{"name":"m"},"spec":{"holderIdentity":"a","renewTime":"2026-01-02T03:04:05.000000Z"}}`)
		s.put("put without a version", leases+"/m", `{"metadata":{"name":"m"},"spec":{"holderIdentity":"b"}}`)
		s.post("a bad duration", leases, `{"metadata":{"name":"n"},"spec":{"leaseDurationSeconds":0}}`)
	}},
}
