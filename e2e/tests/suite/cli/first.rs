//! A first policy, as `kubectl jit init` writes it, in a cluster.

use lapse_crds::RequestPhase;
use lapse_e2e::plane::policy_reported;

use super::terminal::Terminal;
use super::{assert_refused, created};
use crate::world::World;

impl World {
    /// What `init` is asked, with people who hold nothing but what it binds.
    fn first(&self) -> Vec<String> {
        let of = |name: &str| format!("user/{name}");
        let words = [
            ["init".to_owned(), "jit-init-first".to_owned()],
            ["--role".to_owned(), "view".to_owned()],
            ["--target-namespace".to_owned(), self.ns.clone()],
            ["--requesters".to_owned(), of("init-anna")],
            ["--approvers".to_owned(), of("init-boris")],
            ["--max".to_owned(), "20m".to_owned()],
        ];
        words.into_iter().flatten().collect()
    }
}

#[tokio::test]
async fn what_it_writes_lets_people_ask_and_approve() {
    let world = World::shared("jit-init").await;
    let plane = world.lapse.plane();
    let (anna, boris) =
        (plane.user("init-anna", &[]).await.unwrap(), plane.user("init-boris", &[]).await.unwrap());
    let words = world.first();
    let args: Vec<&str> = words.iter().map(String::as_str).collect();
    let yaml = world.jit(&world.mallory, &args).await.ok().unwrap();
    let applied = world.kubectl(&world.admin, &["apply", "-f", "-"], Some(&yaml)).await.unwrap();
    assert_eq!(applied.lines().count(), 3, "{applied}");
    policy_reported(&world.admin.client, "jit-init-first").await.unwrap();
    // Once more it changes nothing, so it can be kept in Git.
    let again = world.kubectl(&world.admin, &["apply", "-f", "-"], Some(&yaml)).await.unwrap();
    assert!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");

    let short = world.jit(&anna, &["request", "view", "--reason", "short"]).await;
    assert_eq!(short.status, 3, "a reason of ten characters is asked for: {short:?}");
    let ask = ["request", "view", "--reason", "To see what it writes", "--name", "first"];
    created(&world.jit(&anna, &ask).await);
    world.waits("first", "1 of user init-boris").await;
    let own = world.jit(&anna, &["approve", "first"]).await;
    assert_eq!(own.status, 1, "{own:?}");
    world.jit(&boris, &["approve", "first"]).await.ok().unwrap();
    world.phase("first", RequestPhase::Active).await;
    let long = world.jit(&anna, &["can-i", "view", "--for", "30m"]).await;
    assert_refused(&long, 3, &["20m"]);
}

#[tokio::test]
async fn it_writes_a_file_once_and_nothing_that_would_be_refused() {
    let world = World::shared("jit-init-file").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("first.yaml").display().to_string();
    let mut words = world.first();
    words.extend(["--file".to_owned(), file.clone()]);
    let args: Vec<&str> = words.iter().map(String::as_str).collect();
    let made = world.jit(&world.mallory, &args).await;
    assert!(
        made.success() && made.stdout.is_empty() && made.stderr.contains("kubectl apply -f"),
        "{made:?}"
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("kind: JitPolicy") && text.contains("lapse:approver"), "{text}");
    assert_refused(&world.jit(&world.mallory, &args).await, 1, &["first.yaml", "exists"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    let nothing = world.jit(&world.mallory, &["init"]).await;
    assert_refused(&nothing, 2, &["--requesters", "--no-approval"]);
    let own = ["init", "--role", "view", "--target-namespace", "shop"];
    let own = [&own[..], &["--requesters", "user/bob", "--approvers", "user/bob"]].concat();
    let refused = world.jit(&world.mallory, &own).await;
    assert_refused(
        &refused,
        2,
        &["such a policy would be refused", "none of the requesters can ever be approved"],
    );
    assert!(refused.stdout.is_empty(), "{refused:?}");
    let injected = [
        "init",
        "x\nkind: Secret",
        "--role",
        "view",
        "--target-namespace",
        "shop",
        "--requesters",
        "a",
        "--no-approval",
    ];
    assert_refused(&world.jit(&world.mallory, &injected).await, 2, &["is no name of a policy"]);
}

#[tokio::test]
async fn on_a_terminal_it_asks() {
    let world = World::shared("jit-init-asks").await;
    let mut terminal = Terminal::start(&world, &world.mallory, &["init"]).await;
    for (question, answer) in [
        ("Who may ask?", "\r"),
        ("Who may ask?", "serviceaccount/ci\r"),
        ("write serviceaccount/NAMESPACE/NAME", "asked-developers user/alice\r"),
        ("For which roles?", "view role/mend\r"),
        ("In which namespaces?", "shop\r"),
        ("Who approves?", "asked-managers\r"),
        ("For how long at most?", "2h\r"),
    ] {
        terminal.shows(question).await;
        terminal.types(answer);
    }
    for words in [
        "groups, or user/NAME, separated by spaces",
        "such as edit, view or role/deployer",
        "separated by spaces",
        "groups, or user/NAME, separated by spaces; nothing: no approval",
        "name: shop-view",
        "asked-developers",
        "lapse:requester",
        "max: 2h",
    ] {
        terminal.shows(words).await;
    }
    assert_eq!(terminal.ends().await, 0);
    let mut terminal = Terminal::start(&world, &world.mallory, &["init"]).await;
    terminal.shows("Who may ask?").await;
    terminal.types("\u{3}");
    terminal.shows("interrupted; nothing was written").await;
    assert_eq!(terminal.ends().await, 130);
}
