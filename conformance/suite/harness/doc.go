// Package harness starts what the conformance suite measures against: etcd,
// kube-apiserver and kube-controller-manager of one Kubernetes release with the
// real CRDs, and the mtv-matrix binary's lab. Everything listens on loopback,
// lives in a temporary directory, and ends with the test, whatever happens.
//
// A test that lacks a part (no binary built, no CRD folder) is skipped with one
// line that names it; conformance/run builds the parts.
package harness
