//! What people read, each below the command line that tells it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use lapse_e2e::plane::{User, eventually};
use regex::Regex;
use serde_json::{Value, json};

use crate::rbac;
use crate::world::{SOON, World};

/// Command lines with what they tell.
struct Book<'a> {
    world: &'a World,
    files: tempfile::TempDir,
    text: String,
}

impl<'a> Book<'a> {
    fn of(world: &'a World) -> Self {
        Self { world, files: tempfile::tempdir().unwrap(), text: String::new() }
    }

    fn write(&self, name: &str, content: &Value) {
        self.write_text(name, &content.to_string());
    }

    fn write_text(&self, name: &str, content: &str) {
        fs::write(self.files.path().join(name), content).unwrap();
    }

    /// Somebody calls it. `FILES/` is the folder of the files.
    async fn add(&mut self, user: &User, line: &str) {
        let folder = self.files.path().display().to_string();
        let words = line.split(' ').map(|word| word.replace("FILES", &folder));
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = self.world.lapse.plane().jit(user, &words).await.unwrap();
        let told = [answer.stdout.trim_end(), answer.stderr.trim_end()].join("\n");
        let told = settled(told.trim(), self.files.path());
        writeln!(self.text, "$ kubectl jit {line}\n{told}\n[{}]\n", answer.status).unwrap();
    }
}

/// Without what differs from run to run.
fn settled(text: &str, files: &Path) -> String {
    let text = text.replace(&files.display().to_string(), "FILES");
    let text = Regex::new(r"-[0-9a-f]{10}\b").unwrap().replace_all(&text, "-HASH");
    let text = Regex::new(r"\d{4}-\d\d-\d\dT[\d:]+Z").unwrap().replace_all(&text, "TIME");
    Regex::new(r"\(in [^)]*\)|\([^)]* ago\)|\(now\)")
        .unwrap()
        .replace_all(&text, "(THEN)")
        .into_owned()
}

fn policy(name: &str, fields: &Value) -> Value {
    let role = json!({"kind": "ClusterRole", "name": "mender"});
    let targets = json!([{"kubernetes": {"roles": [role], "namespaces": {"names": ["shop"]}}}]);
    let approvers = json!([{"kind": "Group", "name": "managers"}]);
    let mut policy = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": name},
        "spec": {
            "requesters": [{"kind": "Group", "name": "developers"}], "targets": targets,
            "approval": {"stages": [{"name": "m", "required": 1, "approvers": approvers}]},
        },
    });
    for (field, value) in fields.as_object().unwrap() {
        policy["spec"][field] = value.clone();
    }
    policy
}

fn request(target: &Value) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"name": "fix"},
        "spec": {"target": target, "duration": "10m", "reason": "A change is reviewed"},
    })
}

fn of_kind(version: &str, kind: &str, rest: &Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "mender"}});
    for (field, value) in rest.as_object().unwrap() {
        object[field] = value.clone();
    }
    object
}

#[tokio::test]
async fn of_requests() {
    let world = World::shared("jit-told").await;
    let mut book = Book::of(&world);
    let (alice, bob) = (&world.alice, &world.bob);
    book.add(alice, "-n jit-told list").await;
    book.add(alice, "-n jit-told status").await;
    book.add(alice, "-n jit-told status nothing").await;
    book.add(alice, "-n jit-told list -o csv").await;
    book.add(alice, "-n jit-told doctor -o name").await;
    book.add(alice, "--kubeconfig FILES/nothing list").await;
    book.add(&world.mallory, "-n jit-told policies").await;
    book.add(bob, "-n jit-told approve --all --yes").await;
    world.ask("fix", json!({})).await;
    world.waits("fix", "managers").await;
    book.add(bob, "-n jit-told approve --all").await;
    book.add(bob, "-n jit-told approve fix --dry-run client").await;
    insta::assert_snapshot!(book.text);
}

#[tokio::test]
async fn of_files() {
    let world = World::shared("jit-told-files").await;
    let mut book = Book::of(&world);
    let alice = &world.alice;
    let role = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "mender"}}});
    book.write("request.json", &request(&role));
    book.write("nothing.json", &request(&json!({})));
    let host = json!({"endpoint": {"name": "web-1", "admin": {}}});
    book.write("host.json", &request(&host));
    book.write("shop.json", &policy("shop", &json!({})));
    book.write("easy.json", &policy("easy", &json!({"approval": {"stages": []}})));
    let selector = json!({"selector": {"matchLabels": {"team": "shop"}}});
    let roles = json!([{"kind": "ClusterRole", "name": "mender"}]);
    let labels = json!([{"kubernetes": {"roles": roles, "namespaces": selector}}]);
    book.write("labels.json", &policy("labels", &json!({"targets": labels})));
    book.write("long.json", &policy("long", &json!({"duration": {"max": "48h"}})));
    let (rbac, none) = ("rbac.authorization.k8s.io/v1", json!({}));
    book.write("role.json", &of_kind(rbac, "ClusterRole", &json!({"rules": []})));
    let selectors = json!({"aggregationRule": {"clusterRoleSelectors": []}});
    book.write("empty.json", &of_kind(rbac, "ClusterRole", &selectors));
    book.write("nowhere.json", &of_kind(rbac, "Role", &none));
    book.write("map.json", &of_kind("v1", "ConfigMap", &none));
    book.write("pod.json", &of_kind("v1", "Pod", &none));
    book.write_text(
        "two.yaml",
        &[request(&role), request(&role)].map(|one| one.to_string()).join("\n---\n"),
    );
    book.write_text("large.yaml", &" ".repeat((16 << 20) + 1));
    let as_alice = "--as alice --as-group developers -n shop";
    for line in [
        "--policy FILES/shop.json --policy FILES/easy.json --with FILES/role.json FILES/request.json",
        "--policy FILES/shop.json FILES/request.json",
        "--policy FILES/labels.json --with FILES/role.json FILES/request.json",
        "--policy FILES/long.json FILES/request.json",
        "--policy FILES/shop.json FILES/nothing.json",
        "--policy FILES/shop.json FILES/host.json",
        "--policy FILES/shop.json FILES/two.yaml",
        "--policy FILES/shop.json --with FILES/empty.json FILES/request.json",
        "--policy FILES/shop.json --with FILES/nowhere.json FILES/request.json",
        "--policy FILES/shop.json --with FILES/map.json FILES/request.json",
        "--policy FILES/shop.json --with FILES/pod.json FILES/request.json",
        "--policy FILES/large.yaml FILES/request.json",
    ] {
        book.add(alice, &format!("explain {as_alice} {line}")).await;
    }
    book.add(alice, "explain --as alice --policy FILES/shop.json FILES/request.json").await;
    book.add(alice, "explain -n shop --policy FILES/shop.json FILES/request.json").await;
    book.add(alice, "init").await;
    let init = "init shop-view --role view --target-namespace shop --requesters a --no-approval --file FILES/new.yaml";
    book.add(alice, init).await;
    insta::assert_snapshot!(book.text);
}

#[tokio::test]
async fn of_what_was() {
    let world = World::shared("jit-told-past").await;
    let mut book = Book::of(&world);
    let admin = &world.admin;
    world.granted("fix", json!({})).await;
    let name = "jit-told-counts";
    let grants = json!({"apiGroups": ["lapse.dev"], "resources": ["grants"], "verbs": ["list"]});
    let role = json!({"metadata": {"name": name}, "rules": [grants]});
    world.apply(of_kind("rbac.authorization.k8s.io/v1", "ClusterRole", &role)).await;
    let counts = world.lapse.plane().user(name, &[]).await.unwrap();
    world.bind_everywhere(name, name, &rbac::user(name)).await;
    let reports = ["-n", &*world.ns, "report"];
    let told = eventually("the binding to be known", SOON, async || {
        let told = world.lapse.plane().jit(&counts, &reports).await?;
        Ok(told.success().then_some(told.stderr))
    });
    let told = told.await.unwrap();
    let event = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Event", "level": "Metadata", "stage": "ResponseComplete",
        "verb": "get", "requestURI": "/version", "user": {"username": "alice"}, "auditID": "a",
    });
    book.write_text("audit.log", &format!("{event}\nno event\n"));
    book.write_text("other.log", "no event\n");
    book.add(admin, "-n jit-told-past report --since 1h -o yaml").await;
    book.add(admin, "-n jit-told-past report --since 2100-01-01T00:00:00Z --audit FILES/audit.log")
        .await;
    book.add(admin, "-n jit-told-past report --audit FILES/other.log").await;
    writeln!(book.text, "$ kubectl jit report\n{told}").unwrap();
    book.add(admin, "-n jit-told-past replay --without nothing").await;
    book.add(admin, "-n jit-told-past replay --without jit-told-past --installation nowhere").await;
    book.add(&world.bob, "-n jit-told-past replay --without jit-told-past").await;
    insta::assert_snapshot!(book.text);
}
