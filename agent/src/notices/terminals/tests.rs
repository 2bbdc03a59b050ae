use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{FlowArg, tcflow};
use rstest::rstest;

use super::*;

#[rstest]
#[case::pseudo(34_816, Some("/dev/pts/0"))]
#[case::another(34_821, Some("/dev/pts/5"))]
#[case::of_the_next_number(137 << 8 | 3, Some("/dev/pts/259"))]
#[case::console(1025, Some("/dev/tty1"))]
#[case::the_current_console(1024, None)]
#[case::serial(1024 + 64, None)]
#[case::a_disk(8 << 8, None)]
#[case::memory(256 | 1, None)]
#[case::the_terminal_of_whoever_asks(5 << 8, None)]
#[case::none(0, None)]
fn which_numbers_are_terminals(#[case] number: u64, #[case] expected: Option<&str>) {
    let path = Terminal::of(number).map(|terminal| terminal.path(&Places::default()));
    assert_eq!(path, expected.map(PathBuf::from));
}

#[test]
fn what_somebody_runs_has_their_terminals() {
    let folder = tempfile::tempdir().unwrap();
    let places = Places::under(folder.path());
    let process = |number: i32, terminal: u64, group: PathBuf| {
        fs::create_dir_all(&group).unwrap();
        let procs = group.join("cgroup.procs");
        let before = fs::read_to_string(&procs).unwrap_or_default();
        fs::write(procs, format!("{before}{number}\n")).unwrap();
        let folder = places.at("/proc").join(number.to_string());
        fs::create_dir_all(&folder).unwrap();
        let stat = format!("{number} (sh) S 1 7 7 {terminal} -1 4 1 0 0 0 2 5 0 0 20 0 3 0 1 1 2");
        fs::write(folder.join("stat"), stat).unwrap();
    };
    let id = Id::of("g");
    let user = of_user(&places, 1000);
    process(1, 34_817, user.join("session-1.scope"));
    process(2, 34_817, user.join("session-1.scope"));
    process(3, 0, user.join("session-1.scope"));
    process(4, 34_818, user.join("user@1000.service/app.slice/term.scope"));
    process(5, 34_819, places.slice(&id).join("lapse-g-5.scope"));
    process(6, 34_820, of_user(&places, 1001).join("session-2.scope"));
    let found: Vec<u64> = of(&places, 1000, &id).iter().map(|terminal| terminal.minor).collect();
    assert_eq!(found, [1, 2, 3]);
    // However many somebody opens.
    for number in 100..200 {
        process(number, 34_816 + u64::try_from(number).unwrap(), user.join("session-3.scope"));
    }
    assert_eq!(of(&places, 1000, &id).len(), MOST);
}

/// A terminal of whoever runs this, and the other end of it.
fn terminal() -> (Terminal, PtyMaster, PathBuf) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = PathBuf::from(ptsname_r(&master).unwrap());
    let number = fs::metadata(&path).unwrap().rdev();
    (Terminal { major: major(number), minor: minor(number) }, master, path)
}

/// Opens one, so that it does not become this process's own.
fn open(path: &PathBuf) -> File {
    let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
    File::options().read(true).write(true).custom_flags(flags).open(path).unwrap()
}

fn me() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[test]
fn its_owner_reads_what_is_written_and_nobody_else_is_written_to() {
    let (terminal, mut master, path) = terminal();
    let _open = open(&path);
    let places = Places::default();
    assert!(terminal.write(&places, me() + 1, b"no").is_err(), "it is another's");
    let all = BTreeSet::from([terminal]);
    assert_eq!(write(&places, me(), &all, "your access ends in 5m"), 1);
    let mut said = [0; 64];
    let count = master.read(&mut said).unwrap();
    assert_eq!(&said[..count], b"\r\r\n\x07Lapse: your access ends in 5m.\r\r\n");
}

/// Who stops their terminal, or fills it, waits for what they write themselves; nobody else does.
#[rstest]
#[case::stopped(true)]
#[case::full(false)]
fn nothing_waits_for_a_terminal(#[case] is_stopped: bool) {
    let (terminal, _master, path) = terminal();
    let mut open = open(&path);
    if is_stopped {
        tcflow(open.as_fd(), FlowArg::TCOOFF).unwrap();
    } else {
        while open.write(&[b'x'; 4096]).is_ok() {}
    }
    let began = Instant::now();
    let all = BTreeSet::from([terminal]);
    assert_eq!(write(&Places::default(), me(), &all, "your access ends in 5m"), 0);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn what_is_no_terminal_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let places = Places::under(folder.path());
    fs::create_dir_all(places.at("/dev/pts")).unwrap();
    let one = Terminal::of(34_817).unwrap();
    let path = one.path(&places);
    fs::write(&path, "").unwrap();
    assert!(one.write(&places, me(), b"x").is_err(), "a file");
    assert_eq!(fs::read(&path).unwrap(), b"");
    fs::remove_file(&path).unwrap();
    symlink("/dev/null", &path).unwrap();
    assert!(one.write(&places, me(), b"x").is_err(), "a link");
    assert!(Terminal::of(34_818).unwrap().write(&places, me(), b"x").is_err(), "nothing");
}
