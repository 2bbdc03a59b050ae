//! What the programs do that change users: to one file after the other, so that the power may go in between.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::Fake;
use crate::system::Ran;

/// What a program does to a host that is a folder; `None` of one that is not known here.
pub(super) fn run(fake: &Fake, program: &str, arguments: &[&str]) -> Option<io::Result<Ran>> {
    let tool = Tool { fake, program };
    let done = match (program, arguments) {
        ("chage", ["--expiredate", day, name]) => {
            tool.edit("/etc/shadow", name, 7, |_| (*day).into())
        }
        ("usermod", ["--lock", name]) => {
            tool.edit("/etc/shadow", name, 1, |password| format!("!{password}"))
        }
        ("usermod", ["--unlock", name]) => {
            tool.edit("/etc/shadow", name, 1, |password| password.trim_start_matches('!').into())
        }
        ("groupadd", ["--gid", gid, name]) => tool.add("/etc/group", &format!("{name}:x:{gid}:")),
        ("useradd", ["--uid", uid, "--gid", gid, "--no-user-group", rest @ ..]) => {
            tool.useradd((*uid, *gid), rest)
        }
        ("userdel", ["--force", name]) => tool.userdel(name),
        ("groupdel", [name]) => tool.delete("/etc/group", name),
        ("setpriv", [_, _, _, _, "--", "/bin/sh", "-c", _, _, home, keys @ ..]) => {
            tool.step("the keys", || {
                let folder = PathBuf::from(home).join(".ssh");
                fs::create_dir_all(&folder)?;
                fs::write(folder.join("authorized_keys"), keys.join("\n"))
            })
        }
        ("timeout", [_, _, "rm", .., home]) => tool.step("the home", || fs::remove_dir_all(home)),
        _ => return None,
    };
    Some(done.map(|()| Ran { code: Some(0), ..Ran::default() }))
}

struct Tool<'a> {
    fake: &'a Fake,
    program: &'a str,
}

impl Tool<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.fake.0.lock().unwrap().places.at(path)
    }

    fn step(&self, what: &str, effect: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.fake.step(&format!("{} {what}", self.program), effect)
    }

    /// Changes the lines of a file; those that are to go become nothing.
    fn change(&self, path: &str, line: impl Fn(&str) -> Option<String>) -> io::Result<()> {
        let file = self.path(path);
        self.step(path, || {
            let lines: Vec<String> = fs::read_to_string(&file)?.lines().filter_map(&line).collect();
            let end = if lines.is_empty() { "" } else { "\n" };
            fs::write(&file, lines.join("\n") + end)
        })
    }

    fn edit(
        &self,
        path: &str,
        name: &str,
        field: usize,
        next: impl Fn(&str) -> String,
    ) -> io::Result<()> {
        self.change(path, |line| {
            let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
            if fields[0] == name {
                fields[field] = next(&fields[field]);
            }
            Some(fields.join(":"))
        })
    }

    fn add(&self, path: &str, line: &str) -> io::Result<()> {
        let file = self.path(path);
        self.step(path, || fs::write(&file, format!("{}{line}\n", fs::read_to_string(&file)?)))
    }

    fn delete(&self, path: &str, name: &str) -> io::Result<()> {
        self.change(path, |line| (!line.starts_with(&format!("{name}:"))).then(|| line.to_owned()))
    }

    fn useradd(&self, (uid, gid): (&str, &str), rest: &[&str]) -> io::Result<()> {
        let value = |option: &str| {
            let at = rest.iter().position(|word| *word == option)?;
            rest.get(at + 1).copied()
        };
        let (name, day) = (rest[rest.len() - 1], value("--expiredate").unwrap());
        let home = value("--home-dir").unwrap_or("/");
        self.add("/etc/passwd", &format!("{name}:x:{uid}:{gid}::{home}:/bin/bash"))?;
        // As spw_update does: a line that is there is replaced.
        self.delete("/etc/shadow", name)?;
        self.add("/etc/shadow", &format!("{name}:!:1:0:99999:7::{day}:"))?;
        if rest.contains(&"--create-home") {
            let home = self.path(home);
            self.step("the home", || fs::create_dir_all(home))?;
        }
        Ok(())
    }

    fn userdel(&self, name: &str) -> io::Result<()> {
        self.delete("/etc/passwd", name)?;
        self.delete("/etc/shadow", name)?;
        self.change("/etc/group", |line| {
            let (start, members) = line.rsplit_once(':').unwrap();
            let members: Vec<&str> =
                members.split(',').filter(|member| *member != name && !member.is_empty()).collect();
            let is_own = line.starts_with(&format!("{name}:"));
            (!is_own).then(|| format!("{start}:{}", members.join(",")))
        })
    }
}
