package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/jsondiff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// fluxApply applies as a Kustomization does: created, configured or unchanged.
func fluxApply(ctx context.Context, on cluster, objects []*unstructured.Unstructured) error {
	poller := polling.NewStatusPoller(on.client, on.client.RESTMapper(), polling.Options{})
	owner := ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"}
	manager := ssa.NewResourceManager(on.client, poller, owner)
	manager.SetOwnerLabels(objects, "lapse", "flux-system")
	changes, err := manager.ApplyAllStaged(ctx, objects, ssa.DefaultApplyOptions())
	if err != nil {
		return err
	}
	for _, entry := range changes.Entries {
		fmt.Println(entry.ObjMetadata.GroupKind.Kind, entry.ObjMetadata.Name, entry.Action)
	}
	return nil
}

// fluxDrift looks for drift as a HelmRelease with driftDetection does: none, or the patch that would correct it.
func fluxDrift(ctx context.Context, on cluster, objects []*unstructured.Unstructured) error {
	owner := jsondiff.FieldOwner("helm-controller")
	found, err := jsondiff.UnstructuredList(ctx, on.client, objects, owner, jsondiff.MaskSecrets(true), jsondiff.Rationalize(true))
	if err != nil {
		return err
	}
	for _, diff := range found {
		patch, err := json.Marshal(diff.Patch)
		if err != nil {
			return err
		}
		fmt.Println(diff.GroupVersionKind().Kind, diff.GetName(), diff.Type, string(patch))
	}
	return nil
}
