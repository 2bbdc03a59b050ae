//! On a terminal: it asks for what is missing, with what policies offer.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lapse_crds::RequestPhase;
use lapse_e2e::plane::{User, eventually, jit_program};
use nix::pty::{Winsize, openpty};
use serde_json::json;

use crate::world::{SOON, World};

/// A program on a pseudo-terminal, and what it has written there.
pub(super) struct Terminal {
    child: std::process::Child,
    keys: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    pub(super) async fn start(world: &World, user: &User, args: &[&str]) -> Self {
        let size = Winsize { ws_row: 40, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let child = Command::new(jit_program().await.unwrap())
            .args(["-n", &world.ns])
            .args(args)
            .env_clear()
            .env("KUBECONFIG", &user.kubeconfig)
            .env("TERM", "xterm-256color")
            .stdin(end(&pty.slave))
            .stdout(end(&pty.slave))
            .stderr(end(&pty.slave))
            .spawn()
            .unwrap();
        drop(pty.slave);
        let keys = File::from(pty.master);
        let mut reader = keys.try_clone().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of the program is the end of its terminal, which is an error.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { child, keys, shown }
    }

    pub(super) async fn shows(&self, words: &str) {
        let what = format!("the terminal to show {words:?}");
        let found = eventually(&what, SOON, async || {
            Ok(self.shown.lock().unwrap().contains(words).then_some(()))
        });
        found.await.unwrap_or_else(|error| panic!("{error:#}: {}", self.shown.lock().unwrap()));
    }

    pub(super) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub(super) async fn ends(&mut self) -> i32 {
        let status = eventually("the program to end", SOON, async || {
            Ok(self.child.try_wait()?.map(|status| status.code().unwrap_or(-1)))
        });
        status.await.unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_asks_for_what_the_command_line_lacks() {
    let world = World::shared("jit-asks").await;
    let mut terminal = Terminal::start(&world, &world.alice, &["request", "--wait"]).await;
    terminal.shows("Which role?").await;
    terminal.shows("edit (jit-asks: 5m, up to 1h").await;
    terminal.types("view\r");
    terminal.shows("For how long?").await;
    terminal.types("1d\r");
    terminal.shows("is not a duration").await;
    terminal.types("7m\r");
    terminal.shows("Why?").await;
    terminal.types("To look at pods\r");
    let made = world.only_request(&world.alice).await;
    let role = made.spec.target.kubernetes.unwrap().role.unwrap();
    assert_eq!(role.name, "view");
    assert_eq!(made.spec.duration.unwrap().to_string(), "7m");
    assert_eq!(made.spec.reason.as_deref(), Some("To look at pods"));
    let name = made.metadata.name.unwrap();
    world.waits(&name, "managers").await;
    world.approve(&world.bob, &name).await.unwrap();
    terminal.shows("Active: until").await;
    assert_eq!(terminal.ends().await, 0);
}

#[tokio::test]
async fn who_gives_up_has_asked_for_nothing() {
    let world = World::shared("jit-gives-up").await;
    for args in [&["request"][..], &["run", "--", "/bin/true"]] {
        let mut terminal = Terminal::start(&world, &world.alice, args).await;
        terminal.shows("Which role?").await;
        terminal.types("\u{3}");
        terminal.shows("interrupted; nothing was requested").await;
        assert_eq!(terminal.ends().await, 130);
    }
    let list = world.jit(&world.alice, &["list", "-o", "name"]).await.ok().unwrap();
    assert_eq!(list, "");
}

#[tokio::test]
async fn who_is_offered_no_role_is_asked_nothing() {
    let world = World::shared("jit-asks-nobody").await;
    let mut terminal = Terminal::start(&world, &world.mallory, &["request"]).await;
    let told =
        "no policy offers you a role; `kubectl jit policies` shows what else you may request";
    terminal.shows(told).await;
    assert_eq!(terminal.ends().await, 3);
}

#[tokio::test]
async fn what_was_found_is_decided_on_a_yes() {
    let world = World::shared("jit-confirms").await;
    for name in ["one", "two"] {
        world.ask(name, json!({})).await;
        world.waits(name, "managers").await;
    }
    let mut terminal = Terminal::start(&world, &world.bob, &["approve", "--all"]).await;
    terminal.shows("Approve these 2 requests?").await;
    terminal.types("\r");
    assert_eq!(terminal.ends().await, 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.status("one").await.phase, RequestPhase::Pending);
    let mut terminal = Terminal::start(&world, &world.bob, &["approve", "--all"]).await;
    terminal.shows("Approve these 2 requests?").await;
    terminal.types("y\r");
    assert_eq!(terminal.ends().await, 0);
    for name in ["one", "two"] {
        world.phase(name, RequestPhase::Active).await;
    }
}
