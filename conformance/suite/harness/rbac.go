package harness

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Right is one verb on one resource.
type Right struct {
	// Namespace is empty for what a ClusterRole grants.
	Namespace string
	Group     string
	// Resource is `plural` or `plural/subresource`.
	Resource string
	Verb     string
	// Name is empty when every name is meant.
	Name string
}

func (r Right) String() string {
	text := r.Verb + " " + r.Resource
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Name != "" {
		text += " " + r.Name
	}
	if r.Namespace != "" {
		text += " in " + r.Namespace
	}
	return text
}

// Granted flattens the Roles and ClusterRoles among objects.
func Granted(t testing.TB, objects []*unstructured.Unstructured) []Right {
	t.Helper()
	var rights []Right
	for _, object := range objects {
		if kind := object.GetKind(); kind != "Role" && kind != "ClusterRole" {
			continue
		}
		// A Role has the fields of a ClusterRole that matter here.
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			names := rule.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						for _, name := range names {
							rights = append(rights, Right{object.GetNamespace(), group, resource, verb, name})
						}
					}
				}
			}
		}
	}
	return rights
}

// Usage is what a user did, and what it was refused.
type Usage struct {
	Used, Refused []Right
	Requests      int
}

// Uses reads from the audit log what a user did: its own requests, and what others asked about it by
// an access review (the inventory, the proxy in front of Prometheus).
func Uses(t testing.TB, events []AuditEvent, user string) Usage {
	t.Helper()
	var usage Usage
	for _, event := range events {
		if event.ObjectRef == nil {
			continue
		}
		ref := event.ObjectRef
		if ref.Resource == "subjectaccessreviews" && event.Verb == "create" && event.RequestObject != nil {
			var review authorizationv1.SubjectAccessReview
			if err := json.Unmarshal(event.RequestObject, &review); err != nil {
				t.Fatal(err)
			}
			if asked := review.Spec.ResourceAttributes; asked != nil && review.Spec.User == user {
				usage.Used = append(usage.Used, Right{asked.Namespace, asked.Group, joined(asked.Resource, asked.Subresource), asked.Verb, asked.Name})
			}
			continue
		}
		if event.User.Username != user {
			continue
		}
		usage.Requests++
		right := Right{ref.Namespace, ref.Group, joined(ref.Resource, ref.Subresource), event.Verb, ref.Name}
		if event.ResponseStatus.Code == 403 && strings.Contains(event.ResponseStatus.Message, "is forbidden") {
			usage.Refused = append(usage.Refused, right)
		} else {
			usage.Used = append(usage.Used, right)
		}
	}
	return usage
}

func joined(resource, subresource string) string {
	if subresource == "" {
		return resource
	}
	return resource + "/" + subresource
}

// Missing names every refused verb once, with where it was refused.
func (u Usage) Missing() []string {
	seen := map[string]bool{}
	var missing []string
	for _, right := range u.Refused {
		bare := Right{Group: right.Group, Resource: right.Resource, Verb: right.Verb}
		if !seen[bare.String()] {
			seen[bare.String()] = true
			missing = append(missing, fmt.Sprintf("%s (refused: %s)", bare, right))
		}
	}
	sort.Strings(missing)
	return missing
}

// Unused are the granted rights that nobody used.
func (u Usage) Unused(granted []Right) []Right {
	return slices.DeleteFunc(slices.Clone(granted), func(right Right) bool {
		return slices.ContainsFunc(u.Used, func(used Right) bool {
			return used.Group == right.Group && used.Resource == right.Resource && used.Verb == right.Verb &&
				(right.Namespace == "" || right.Namespace == used.Namespace) &&
				(right.Name == "" || right.Name == used.Name)
		})
	})
}
