// What GitOps tools make of objects, by the libraries that they are made of. The objects that Git has come as a list on
// standard input; the cluster is that of KUBECONFIG. Each line says of one object what was found.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const usage = "gitops flux-apply | flux-drift | argo-diff client-side | argo-diff server-side | argo-health [KIND=SCRIPT.lua…]"

// cluster is what the tools need to talk to one.
type cluster struct {
	config *rest.Config
	client client.Client
}

func connect() (cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return cluster{}, fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	// These are many calls of one test, not of a controller that shares a cluster.
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	made, err := client.New(config, client.Options{})
	if err != nil {
		return cluster{}, fmt.Errorf("making a client: %w", err)
	}
	return cluster{config, made}, nil
}

func read(from io.Reader) ([]*unstructured.Unstructured, error) {
	var list unstructured.UnstructuredList
	if err := json.NewDecoder(from).Decode(&list); err != nil {
		return nil, fmt.Errorf("reading a list: %w", err)
	}
	var objects []*unstructured.Unstructured
	for i := range list.Items {
		objects = append(objects, &list.Items[i])
	}
	return objects, nil
}

func run(args []string) error {
	log.SetLogger(log.Log)
	objects, err := read(os.Stdin)
	if err != nil {
		return err
	}
	if len(args) > 0 && args[0] == "argo-health" {
		return argoHealth(objects, args[1:])
	}
	on, err := connect()
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch fmt.Sprint(args) {
	case "[flux-apply]":
		return fluxApply(ctx, on, objects)
	case "[flux-drift]":
		return fluxDrift(ctx, on, objects)
	case "[argo-diff client-side]":
		return argoDiff(ctx, on, objects)
	case "[argo-diff server-side]":
		option, err := serverSide(on)
		if err != nil {
			return err
		}
		return argoDiff(ctx, on, objects, option...)
	}
	return fmt.Errorf("usage: %s", usage)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
