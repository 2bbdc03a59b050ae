//! What the commands of the documents need, and which of them are not run here.

/// Sections whose commands another test runs, one after the other.
pub(super) const ELSEWHERE: [(&str, &str, &str); 2] =
    [("README.md", "Your first request", "tutorial.rs"), ("docs/tutorial.md", "", "tutorial.rs")];

const BUILDS: &str = "takes minutes; images/tests and .ci/release build the same";
const OTHERS: &str = "a program of others, which reads what images/tests/image.rs checks";
const HOST: &str = "on a host: e2e/tests/hosts";
const HOSTS: &str = "takes hosts that have enrolled: hosts/batch.rs";
const ASKS: &str = "asks on a terminal: cli/terminal.rs";

/// Commands that are not run, and why.
pub(super) const OMITTED: [(&str, &str, &str); 28] = [
    ("README.md", "cargo demo", "e2e/tests/demo.rs tells the same"),
    ("README.md", "cargo playground", "tutorial.rs starts it, and so does this test"),
    ("README.md", "cargo image", BUILDS),
    (
        "README.md",
        "skopeo copy --all oci-archive:target/image/lapse-0.1.0.tar docker://registry.example/lapse:0.1.0",
        OTHERS,
    ),
    ("docs/cli.md", "kubectl jit approve --all", ASKS),
    ("docs/cli.md", "kubectl jit end --batch outage-17", HOSTS),
    (
        "docs/cli.md",
        "kubectl jit request --endpoint web-1,web-2 --account provision --for 4h --batch outage-17",
        HOSTS,
    ),
    (
        "docs/cli.md",
        "kubectl jit request --endpoint-selector role=web --account provision --for 4h --batch outage-17",
        HOSTS,
    ),
    ("docs/cli.md", "kubectl jit init", ASKS),
    ("docs/cli.md", "kubectl jit watch -A", "goes on until Ctrl-C: cli/shown.rs"),
    ("docs/endpoints.md", "dpkg --install lapse-agent_*.deb", HOST),
    ("docs/endpoints.md", "systemctl start lapse-agent", HOST),
    ("docs/endpoints.md", "lapse-agent probe", HOST),
    ("docs/endpoints.md", "lapse-agent status", HOST),
    ("docs/endpoints.md", "systemctl restart lapse-agent", HOST),
    (
        "docs/endpoints.md",
        "printf %s \"$token\" | lapse-agent enrol --again --gateway https://lapse.example.com:8443 --endpoint web-1 --pin \"sha256:…\"",
        HOST,
    ),
    (
        "docs/endpoints.md",
        "printf %s \"$token\" | lapse-agent enrol --gateway https://lapse.example.com:8443 --endpoint web-1 --pin \"sha256:…\"",
        HOST,
    ),
    ("docs/operations.md", "cargo image", BUILDS),
    ("docs/operations.md", "cargo image --arch amd64 --arch arm64", BUILDS),
    ("docs/operations.md", "ls target/image", BUILDS),
    ("docs/operations.md", "kind load image-archive target/image/lapse-0.1.0.tar", OTHERS),
    ("docs/operations.md", "k3s ctr images import target/image/lapse-0.1.0.tar", OTHERS),
    (
        "docs/operations.md",
        "ctr --namespace k8s.io images import target/image/lapse-0.1.0.tar",
        "e2e/src/node imports it in this way",
    ),
    (
        "docs/operations.md",
        "skopeo copy --all oci-archive:target/image/lapse-0.1.0.tar docker://registry.example/lapse:0.1.0",
        OTHERS,
    ),
    ("docs/operations.md", "curl 'localhost:9090/livez?verbose'", "takes a pod: e2e/tests/pods"),
    (
        "docs/performance.md",
        "cargo run --release --bin bench -- --list",
        "takes a build of a release",
    ),
    ("docs/performance.md", "cargo run --release --bin bench", "measures for minutes"),
    (
        "docs/performance.md",
        "cargo run --release --bin bench -- --case approval --case burst --json figures.json",
        "measures for minutes",
    ),
];

/// Commands that take pods, of which the playground has none. Only their flags are checked; e2e/tests/pods does the like.
pub(super) const PARSED: [(&str, &str); 13] = [
    ("charts/lapse/README.md", "helm uninstall lapse --namespace lapse-system"),
    ("docs/cli.md", "kubectl jit doctor"),
    ("docs/cli.md", "kubectl jit doctor -o json"),
    ("docs/operations.md", "helm rollback lapse REVISION --namespace lapse-system"),
    ("docs/operations.md", "helm uninstall lapse --namespace lapse-system"),
    ("docs/operations.md", "kubectl -n lapse-system describe job lapse-image-check"),
    ("docs/operations.md", "kubectl -n lapse-system logs job/lapse-drain"),
    ("docs/operations.md", "kubectl -n lapse-system logs job/sweep-now"),
    (
        "docs/operations.md",
        "kubectl -n lapse-system port-forward deployment/lapse-controller 9090 &",
    ),
    ("docs/upgrade.md", "helm rollback lapse REVISION --namespace lapse-system --wait"),
    ("docs/upgrade.md", "kubectl -n lapse-system rollout status deployment/lapse-controller"),
    ("docs/upgrade.md", "kubectl -n lapse-system rollout status deployment/lapse-gateway"),
    ("docs/upgrade.md", "kubectl -n lapse-system rollout status deployment/lapse-webhook"),
];

/// What stands for something that differs from one installation to the next.
pub(super) const REPLACED: [(&str, &str); 6] = [
    ("gr/GRANT", "gr/$grant"),
    ("delete grant NAME", "delete grant $grant"),
    ("get grant shop-fix-checkout-6ba72afcfe", "get grant $grant"),
    // The API server notices a moment later that what guards Lapse is gone.
    ("lapse-system --no-hooks", "lapse-system --no-hooks; sleep 5"),
    ("/data/KEY", "/data/'$key'"),
    ("sha256:…", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
];

/// What comes before the block that begins with this command: whoever acts there, and what there is.
pub(super) const BEFORE: [(&str, &str, &str); 19] = [
    ("docs/cli.md", "kubectl jit policies", "cleared; as alice; approved_by_bob"),
    ("docs/cli.md", "kubectl jit status", "held fix-checkout; as alice"),
    (
        "docs/cli.md",
        "kubectl jit run edit -n shop --for 10m --reason 'Restart checkout' -- kubectl -n shop rollout restart deploy/checkout",
        "cleared; as alice; approved_by_bob",
    ),
    (
        "docs/cli.md",
        "kubectl jit list --to-approve",
        "cleared; fire; beside fix-checkout; as bob; reviewed_by_carol",
    ),
    ("docs/cli.md", "kubectl jit explain fix-checkout", "pending fix-checkout; as alice"),
    ("docs/cli.md", "kubectl get clusterrole edit -o yaml > edit.yaml", "files"),
    ("docs/cli.md", "kubectl jit replay shop.yaml", "files"),
    ("docs/cli.md", "kubectl jit report --since 30d > access.csv", "audit_logs"),
    ("docs/concepts.md", "# until access is held", "held fix-checkout 20s; of_fix_checkout"),
    (
        "docs/concepts.md",
        r#"kubectl -n shop create -f request.yaml -o jsonpath='{.metadata.name} {.metadata.uid}{"\n"}' > request"#,
        "cleared; files; as alice; approved_by_bob",
    ),
    (
        "docs/operations.md",
        "kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding lapse-grants",
        "values",
    ),
    (
        "docs/operations.md",
        r#"kubectl -n lapse-system patch secret lapse-webhook-keys --type=json -p '[{"op":"remove","path":"/data"}]'"#,
        "dry",
    ),
    (
        "docs/operations.md",
        "kubectl -n lapse-system get configmap lapse-attestation-keys -o yaml",
        "dry; of_the_keys",
    ),
    (
        "docs/operations.md",
        "kubectl get grants --field-selector status.phase=Active",
        "held fix-checkout; of_fix_checkout",
    ),
    (
        "docs/policies.md",
        "kubectl -n shop get areq --field-selector status.phase=Pending -o name | sed 's|.*/||' | while read -r name; do",
        "pending fix-checkout; as bob",
    ),
    (
        "docs/policies.md",
        "kubectl get grant shop-fix-checkout-6ba72afcfe -o jsonpath='{.status.entered}'",
        "held fix-checkout; of_fix_checkout",
    ),
    (
        "docs/policies.md",
        r#"kubectl patch jp manager-approval --type=merge -p '{"spec":{"mode":"Disabled"}}'"#,
        "kubectl apply -f examples/manager-approval/policy.yaml",
    ),
    (
        "docs/upgrade.md",
        "helm upgrade lapse charts/lapse --namespace lapse-system --values my-values.yaml",
        "values",
    ),
    (
        "docs/operations.md",
        "kubectl delete grants.lapse.dev --all --wait=false",
        "held fix-checkout",
    ),
];

/// Shown YAML that is not tried here, by words of it, and why.
pub(super) const NOT_TRIED: [(&str, &str, &str); 4] = [
    ("docs/concepts.md", "resource.customizations.health", "Argo CD's: gitops.rs runs it"),
    ("docs/endpoints.md", "#cloud-config", "cloud-init's"),
    ("docs/policies.md", "startTime:", "its time is over: schedules are tried in rules.rs"),
    ("docs/policies.md", "verdict: Review", "it is about a request: cli/mod.rs reviews one"),
];
