// A kube-apiserver, built from the public module: the binary that the
// conformance suite holds the runner and the lab against.
package main

import (
	"os"
	_ "time/tzdata" // CronJobs with a time zone validate without a zoneinfo folder.

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
