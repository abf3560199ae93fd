// KubeVirt's own command line, built from its module: the client of whoever has VMs.
package main

import (
	"os"

	"kubevirt.io/kubevirt/pkg/virtctl"

	// Logins by plugins.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	os.Exit(virtctl.Execute())
}
