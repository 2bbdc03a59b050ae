//! The programs of a control plane, and what each is built from.

/// The programs of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// The store.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// Garbage collection, namespaces, service accounts, aggregated roles.
    KubeControllerManager,
    /// The command line client.
    Kubectl,
    /// The installer of charts.
    Helm,
    /// What tools that wait make of an object.
    Kstatus,
    /// What Flux and Argo CD make of objects.
    Gitops,
    /// What runs pods on a node.
    Kubelet,
    /// What makes Services reachable on a node.
    KubeProxy,
    /// What says on which node a pod runs.
    KubeScheduler,
    /// What checks metrics and alerts.
    Promtool,
}

impl Tool {
    /// Those of a control plane.
    pub const PLANE: [Self; 6] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
        Self::Helm,
        Self::Kstatus,
    ];

    /// What nodes need beside them.
    pub const NODES: [Self; 3] = [Self::Kubelet, Self::KubeProxy, Self::KubeScheduler];

    /// What the Kubernetes project's test archives hold.
    pub(crate) const PUBLISHED: [Self; 3] = [Self::Etcd, Self::KubeApiserver, Self::Kubectl];

    /// The name of its file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Kstatus => "kstatus",
            Self::Gitops => "gitops",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::KubeScheduler => "kube-scheduler",
            Self::Promtool => "promtool",
        }
    }

    /// The Go package that it is built from; the last part of its path is the program's name.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Etcd => "./etcd",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "./kubectl",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Kstatus => "./kstatus",
            Self::Gitops => "./gitops",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::KubeProxy => "k8s.io/kubernetes/cmd/kube-proxy",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Promtool => "github.com/prometheus/prometheus/cmd/promtool",
        }
    }
}

/// Their names, for people.
pub(crate) fn names(tools: &[Tool]) -> String {
    tools.iter().map(|tool| tool.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `go build` names what it builds of several packages by their paths.
    #[test]
    fn a_program_is_named_by_its_package() {
        for tool in [&Tool::PLANE[..], &Tool::NODES, &[Tool::Gitops, Tool::Promtool]].concat() {
            assert!(tool.package().ends_with(&format!("/{}", tool.name())), "{tool:?}");
        }
    }
}
