// One etcd member without TLS on loopback: what the conformance suite's
// kube-apiserver keeps its objects in.
package main

import (
	"flag"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	dir := flag.String("data-dir", "", "folder of the data")
	client := flag.String("listen-client", "", "URL for clients, e.g. http://127.0.0.1:2379")
	peer := flag.String("listen-peer", "", "URL for peers, of which there are none")
	flag.Parse()

	config := embed.NewConfig()
	config.Dir = *dir
	config.LogLevel = "warn"
	config.UnsafeNoFsync = true // The data does not outlive the test.
	config.ListenClientUrls = []url.URL{parse(*client)}
	config.AdvertiseClientUrls = config.ListenClientUrls
	config.ListenPeerUrls = []url.URL{parse(*peer)}
	config.AdvertisePeerUrls = config.ListenPeerUrls
	config.InitialCluster = config.InitialClusterFromName(config.Name)

	server, err := embed.StartEtcd(config)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	select {
	case <-stop:
	case err := <-server.Err():
		log.Print(err)
	}
}

func parse(raw string) url.URL {
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Host == "" {
		log.Fatalf("not a URL: %q", raw)
	}
	return *parsed
}
