package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
	"github.com/wI2L/jsondiff"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/klog/v2"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// argoManager is the field manager of applications that are applied server-side.
const argoManager = "argocd-controller"

// dryRunner applies server-side without storing.
type dryRunner struct{ client client.Client }

func (d dryRunner) Run(ctx context.Context, object *unstructured.Unstructured, manager string) (string, error) {
	object = object.DeepCopy()
	options := []client.ApplyOption{client.DryRunAll, client.ForceOwnership, client.FieldOwner(manager)}
	if err := d.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), options...); err != nil {
		return "", err
	}
	said, err := json.Marshal(object)
	return string(said), err
}

// serverSide is how it is compared where the application says ServerSideDiff=true.
func serverSide(on cluster) ([]diff.Option, error) {
	kubectl := &kube.KubectlCmd{Log: klog.Background(), Tracer: tracing.NopTracer{}}
	_, parser, err := kubectl.LoadOpenAPISchema(on.config)
	if err != nil {
		return nil, fmt.Errorf("reading the API's schema: %w", err)
	}
	return []diff.Option{
		diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(dryRunner{on.client}),
		diff.WithGVKParser(parser), diff.WithManager(argoManager),
	}, nil
}

// argoDiff says whether each object is in sync: Synced, or OutOfSync and the patch that a sync would make.
func argoDiff(ctx context.Context, on cluster, objects []*unstructured.Unstructured, options ...diff.Option) error {
	for _, object := range objects {
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(object.GroupVersionKind())
		if err := on.client.Get(ctx, client.ObjectKeyFromObject(object), live); err != nil {
			return err
		}
		result, err := diff.Diff(object, live, options...)
		if err != nil {
			return err
		}
		said, patch := "Synced", []byte("[]")
		if result.Modified {
			said = "OutOfSync"
			operations, err := jsondiff.CompareJSON(result.NormalizedLive, result.PredictedLive)
			if err != nil {
				return err
			}
			if patch, err = json.Marshal(operations); err != nil {
				return err
			}
		}
		fmt.Println(object.GetKind(), object.GetName(), said, string(patch))
	}
	return nil
}

// scripts are health checks in Lua, by kind.
type scripts map[string]string

// GetResourceHealth runs the script of the object's kind as Argo CD does: obj is the object, and what comes back is its health.
func (s scripts) GetResourceHealth(object *unstructured.Unstructured) (*health.HealthStatus, error) {
	script, known := s[object.GetKind()]
	if !known {
		return nil, nil
	}
	// The libraries that Argo CD opens to scripts, unless it is told to open all.
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	text, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	// From text, as numbers that are no floats would be left out.
	value, err := luajson.Decode(state, text)
	if err != nil {
		return nil, err
	}
	state.SetGlobal("obj", value)
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	said, err := luajson.Encode(state.Get(-1))
	if err != nil {
		return nil, err
	}
	var found health.HealthStatus
	err = json.Unmarshal(said, &found)
	return &found, err
}

// argoHealth says how each object is, by these scripts and Argo CD's own rules: None where there is no rule.
func argoHealth(objects []*unstructured.Unstructured, files []string) error {
	known := scripts{}
	for _, file := range files {
		kind, path, ok := strings.Cut(file, "=")
		if !ok {
			return errors.New("usage: " + usage)
		}
		script, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		known[kind] = string(script)
	}
	for _, object := range objects {
		found, err := health.GetResourceHealth(object, known)
		if err != nil {
			return err
		}
		if found == nil {
			found = &health.HealthStatus{Status: "None"}
		}
		fmt.Println(object.GetKind(), object.GetName(), found.Status, found.Message)
	}
	return nil
}
