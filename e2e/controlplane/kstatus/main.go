// Says of each object of a list on standard input whether tools that wait (Helm 4, Flux, and others by the
// same rules) take it for done: its kind, its name, and Current, InProgress, Failed or Terminating.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func run() error {
	var list unstructured.UnstructuredList
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return fmt.Errorf("reading a list: %w", err)
	}
	for i := range list.Items {
		object := &list.Items[i]
		result, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		fmt.Println(object.GetKind(), object.GetName(), result.Status)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
