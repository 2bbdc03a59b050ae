//! What runs in a group of processes, for people.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::places::Places;
use crate::text::plain;

/// How many groups are looked into. Who makes more within theirs sees less of it.
const MOST_GROUPS: usize = 256;
/// How much of a list is read, and of a command, in bytes.
const MOST_READ: u64 = 16 * 1024;
/// How much of a command is shown, in characters.
const LONGEST: usize = 120;

/// The processes in a group and in those below it, at most so many. None if there is no such group.
#[must_use]
pub fn within(group: &Path, most: usize) -> Vec<i32> {
    let (mut found, mut todo) = (Vec::new(), vec![group.to_owned()]);
    let mut looked = 0;
    while let Some(group) = todo.pop() {
        let numbers = head(&group.join("cgroup.procs")).unwrap_or_default();
        let numbers = String::from_utf8_lossy(&numbers);
        found.extend(numbers.lines().filter_map(|line| line.parse::<i32>().ok()));
        looked += 1;
        if found.len() >= most {
            break;
        }
        let room = MOST_GROUPS.saturating_sub(looked + todo.len());
        let below = fs::read_dir(&group).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        todo.extend(below.map(|entry| entry.path()).take(room));
    }
    found.truncate(most);
    found
}

/// What a process runs, on one line. `None` if it has ended.
#[must_use]
pub fn command_of(places: &Places, process: i32) -> Option<String> {
    let folder: PathBuf = places.at("/proc").join(process.to_string());
    let arguments = head(&folder.join("cmdline"))?;
    let arguments = String::from_utf8_lossy(&arguments);
    let words: Vec<&str> = arguments.split('\0').filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        // It has no arguments, or is just ending.
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        return Some(plain(&format!("[{}]", name.trim_end()), LONGEST));
    }
    Some(plain(&words.join(" "), LONGEST))
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MOST_READ).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_below_is_found_and_no_more_than_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("lapse-a.slice");
        fs::create_dir_all(group.join("lapse-a-1.scope/own")).unwrap();
        fs::write(group.join("cgroup.procs"), "").unwrap();
        fs::write(group.join("lapse-a-1.scope/cgroup.procs"), "7\n8\n").unwrap();
        fs::write(group.join("lapse-a-1.scope/own/cgroup.procs"), "9\n").unwrap();
        assert_eq!(within(&group, 10), [7, 8, 9]);
        assert_eq!(within(&group, 2), [7, 8]);
        assert_eq!(within(&folder.path().join("none"), 10), [0; 0]);
    }

    #[test]
    fn a_group_of_very_many_is_not_walked_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..MOST_GROUPS + 50 {
            let below = folder.path().join(number.to_string());
            fs::create_dir(&below).unwrap();
            fs::write(below.join("cgroup.procs"), format!("{number}\n")).unwrap();
        }
        let found = within(folder.path(), usize::MAX).len();
        assert!((200..=MOST_GROUPS).contains(&found), "{found}");
    }

    #[test]
    fn a_command_is_shown_as_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        for (number, cmdline, comm) in
            [(1, "sh\0-c\0a\x1b[2J\nb\0", "sh"), (2, "", "kworker"), (3, &*"x".repeat(9_999), "x")]
        {
            let process = places.at("/proc").join(number.to_string());
            fs::create_dir_all(&process).unwrap();
            fs::write(process.join("cmdline"), cmdline).unwrap();
            fs::write(process.join("comm"), format!("{comm}\n")).unwrap();
        }
        assert_eq!(command_of(&places, 1).unwrap(), "sh -c a?[2J b");
        assert_eq!(command_of(&places, 2).unwrap(), "[kworker]");
        assert_eq!(command_of(&places, 3).unwrap().len(), LONGEST);
        assert_eq!(command_of(&places, 4), None);
    }
}
