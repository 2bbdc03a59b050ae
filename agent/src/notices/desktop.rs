//! Notifications on the desktop of somebody, by their own bus.
//!
//! What shows them runs as the user, who can do with it what they like. So systemd starts it, apart from the agent, where
//! whatever becomes of it ends with the rest that the user has open; it has little memory and time.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use super::words::Text;
use crate::places::Places;
use crate::system::System;

/// The most that it may take.
const LIMITS: [&str; 4] = [
    "--property=RuntimeMaxSec=5s",
    "--property=MemoryMax=64M",
    "--property=TasksMax=8",
    "--property=NoNewPrivileges=yes",
];
/// What is asked for (the Desktop Notifications Specification): who, in the place of which, with which picture, title and
/// text; no actions; how urgent it is; for how long, by the desktop's own measure.
const NOTIFY: [&str; 6] = [
    "call",
    "org.freedesktop.Notifications",
    "/org/freedesktop/Notifications",
    "org.freedesktop.Notifications",
    "Notify",
    "susssasa{sv}i",
];

/// Shows a text on the desktop of somebody, if they have one.
pub fn show(system: &dyn System, places: &Places, uid: u32, text: &Text) {
    if !has_bus(places, uid) {
        return;
    }
    let arguments = arguments(uid, text);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Who sees none has it on the terminal, and in the status.
    let _ = system.run("systemd-run", &arguments);
}

/// Whether somebody has a bus of their own.
fn has_bus(places: &Places, uid: u32) -> bool {
    let path = places.at("/run/user").join(uid.to_string()).join("bus");
    fs::symlink_metadata(path).is_ok_and(|bus| bus.file_type().is_socket() && bus.uid() == uid)
}

fn arguments(uid: u32, Text { title, body }: &Text) -> Vec<String> {
    let own = [
        "--quiet".to_owned(),
        "--no-block".to_owned(),
        "--collect".to_owned(),
        format!("--uid={uid}"),
        format!("--slice=user-{uid}.slice"),
        format!("--setenv=XDG_RUNTIME_DIR=/run/user/{uid}"),
        format!("--setenv=DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{uid}/bus"),
    ];
    let asked = ["busctl", "--user", "--timeout=3", "--"];
    // The text may be read as markup, of which there is none in it.
    let body: String = body.chars().filter(|character| !"<>&".contains(*character)).collect();
    let said = ["Lapse", "0", "", title, &body, "0", "1", "urgency", "y", "2", "-1"];
    let fixed = LIMITS.iter().chain(&["--"]).chain(&asked).chain(&NOTIFY).chain(&said);
    own.into_iter().chain(fixed.map(ToString::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::Mutex;

    use super::*;
    use crate::system::Ran;

    /// What was run.
    #[derive(Default)]
    struct Fake(Mutex<Vec<String>>);

    impl System for Fake {
        fn run(&self, program: &str, arguments: &[&str]) -> std::io::Result<Ran> {
            self.0.lock().unwrap().push(format!("{program} {}", arguments.join(" ")));
            Ok(Ran::default())
        }
    }

    #[test]
    fn who_has_a_bus_of_their_own_is_shown_it() {
        let folder = tempfile::tempdir().unwrap();
        let (places, fake) = (Places::under(folder.path()), Fake::default());
        let uid = nix::unistd::geteuid().as_raw();
        let text = Text { title: "Access ends soon", body: "in 5m <b>&".into() };
        show(&fake, &places, uid, &text);
        let own = places.at("/run/user").join(uid.to_string());
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("bus"), "").unwrap();
        show(&fake, &places, uid, &text);
        assert_eq!(fake.0.lock().unwrap().len(), 0);
        fs::remove_file(own.join("bus")).unwrap();
        let _bus = UnixListener::bind(own.join("bus")).unwrap();
        show(&fake, &places, uid + 1, &text);
        show(&fake, &places, uid, &text);
        assert_eq!(fake.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn it_is_shown_as_the_user_and_apart_from_the_agent() {
        let text = Text { title: "Access ends soon", body: "in 5m <b>&".into() };
        insta::assert_snapshot!(arguments(1000, &text).join(" "), @"--quiet --no-block --collect --uid=1000 --slice=user-1000.slice --setenv=XDG_RUNTIME_DIR=/run/user/1000 --setenv=DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus --property=RuntimeMaxSec=5s --property=MemoryMax=64M --property=TasksMax=8 --property=NoNewPrivileges=yes -- busctl --user --timeout=3 -- call org.freedesktop.Notifications /org/freedesktop/Notifications org.freedesktop.Notifications Notify susssasa{sv}i Lapse 0  Access ends soon in 5m b 0 1 urgency y 2 -1");
    }
}
