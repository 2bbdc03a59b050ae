//! Where replicas run: each on a node of its own, whether the nodes say in which zone they are or not. Most that people
//! run themselves do not.

use std::collections::BTreeSet;

use lapse_e2e::plane::install::NAMESPACE;

use crate::town::Town;

const PROGRAMS: [&str; 2] = ["controller", "webhook"];

impl Town {
    /// Gives both programs new pods.
    async fn restart(&self) {
        let namespace = ["--namespace", NAMESPACE];
        for program in PROGRAMS {
            let deployment = format!("deployment/lapse-{program}");
            let args = [&["rollout", "restart", &deployment], &namespace[..]].concat();
            self.kubectl(&self.admin, &args).await.ok().unwrap();
        }
        for program in PROGRAMS {
            let deployment = format!("deployment/lapse-{program}");
            let args = [&["rollout", "status", &deployment, "--timeout=3m"], &namespace[..]];
            self.kubectl(&self.admin, &args.concat()).await.ok().unwrap();
        }
    }

    /// That no two pods of a program are on one node.
    async fn are_spread(&self, when: &str) {
        for program in PROGRAMS {
            let pods = self.pods(program).await;
            let nodes: BTreeSet<_> =
                pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()).collect();
            let names: Vec<_> = pods.iter().map(kube::ResourceExt::name_any).collect();
            assert_eq!((pods.len(), nodes.len()), (2, 2), "{when}: {names:?} on {nodes:?}");
        }
    }

    /// Has both nodes say, or not say, in which zone they are.
    async fn zones(&self, zones: [&str; 2]) {
        for (node, zone) in self.cluster.nodes().iter().zip(zones) {
            let label = format!("topology.kubernetes.io/zone{zone}");
            let args = ["label", "node", node.name(), &label, "--overwrite"];
            self.kubectl(&self.admin, &args).await.ok().unwrap();
        }
    }
}

#[tokio::test]
async fn replicas_are_on_nodes_of_their_own_with_zones_and_without() {
    let town = Town::take().await;
    town.are_spread("as installed").await;
    town.restart().await;
    town.are_spread("rolled out without zones").await;
    town.zones(["=a", "=b"]).await;
    town.restart().await;
    town.are_spread("rolled out with a zone for each").await;
    town.zones(["-", "-"]).await;
}
