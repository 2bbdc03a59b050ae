use rstest::rstest;

use super::samples::{accept, exit, file};
use super::*;

fn time(seconds: i64, nanos: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, nanos).unwrap()
}

/// A command that was called at this nanosecond.
fn called(nanos: u32, arguments: &[&str]) -> String {
    accept(time(1_796_074_938, 525_999_440), time(1_796_074_938, nanos), arguments)
}

/// Its end.
fn ended(signal: Option<&str>) -> String {
    exit(time(1_796_074_938, 518_053_956), time(1_796_074_939, 418_053_956), signal)
}

fn logged(bytes: &[u8]) -> Vec<Logged> {
    LogReader::at(0).feed(bytes).into_iter().map(|(logged, _)| logged).collect()
}

fn arguments(logged: &Logged) -> (Vec<&str>, bool) {
    let Logged::Accepted(called) = logged else { panic!("{logged:?}") };
    (called.arguments.iter().map(String::as_str).collect(), called.is_cut)
}

#[test]
fn what_sudo_writes_is_read() {
    let records = [called(518_053_956, &["id", "-u"]), ended(None), ended(Some("TERM"))];
    let found = logged(&file(&records));
    let called_at = time(1_796_074_938, 518_053_956);
    let id = "fcc64548b2-99e8-4aa4-e544-edbbadd797";
    let called = Called {
        id: id.into(),
        at: time(1_796_074_938, 525_999_440),
        called_at,
        program: "/usr/bin/id".into(),
        arguments: vec!["-u".into()],
        is_cut: false,
        folder: Some("/home/alice".into()),
        run_as: Some("root".into()),
        terminal: Some("/dev/pts/1".into()),
    };
    let at = time(1_796_074_939, 418_053_956);
    let end = |exit, signal: Option<&str>| {
        let signal = signal.map(str::to_owned);
        Logged::Ended { id: id.into(), called_at, at, exit, signal }
    };
    assert_eq!(found, [Logged::Accepted(called), end(3, None), end(143, Some("TERM"))]);
}

/// What somebody chose stays what they chose, whatever it looks like.
#[test]
fn nobody_makes_up_a_record_by_what_they_call() {
    let forged = called(1, &["id", "-u"]);
    let nasty = ["x", "\n    },\n    \"accept\": {\n", &forged, "\u{1}\t\"\\", ""];
    let found = logged(&file(&[called(2, &nasty), ended(None)]));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(arguments(&found[0]), (nasty[1..].to_vec(), false));
    // What is no text at all is read as far as it is one.
    let mut raw = file(&[called(2, &["id", "QQ"]), ended(None)]);
    let place = raw.windows(2).position(|two| two == b"QQ").unwrap();
    raw[place] = 0xff;
    let found = logged(&raw);
    assert_eq!((arguments(&found[0]).0, found.len()), (vec!["\u{fffd}Q"], 2));
}

#[test]
fn long_arguments_are_kept_in_part() {
    let long = format!("{}\n\"", "é\n".repeat(100_000));
    let found = logged(&file(&[called(1, &["id", &long, "-u"]), called(2, &["id", "-g"])]));
    let (kept, is_cut) = arguments(&found[0]);
    assert!(is_cut && kept[0].len() > 2000 && long.starts_with(kept[0]), "{}", kept[0].len());
    assert!(kept.iter().map(|text| text.len()).sum::<usize>() <= MOST_ARGUMENTS);
    assert_eq!(arguments(&found[1]), (vec!["-g"], false));
    let many = vec!["a"; 10_000];
    let found = logged(&file(&[called(1, &many)]));
    let (kept, is_cut) = arguments(&found[0]);
    assert!(is_cut && kept.len() < 1000 && kept.len() > 500, "{}", kept.len());
}

/// It is read a little at a time while it grows, from where it was left: each record once, whatever was there meanwhile.
#[rstest]
fn each_record_is_read_once_however_the_file_grows(#[values(1, 7, 100, 4096)] step: usize) {
    let records = [called(1, &["id"]), ended(None), called(2, &["id"]), ended(Some("TERM"))];
    let (mut place, mut found) = (0, Vec::new());
    for count in 1..=records.len() {
        let file = file(&records[..count]);
        for end in (usize::try_from(place).unwrap()..file.len()).step_by(step).chain([file.len()]) {
            // As the agent does that starts anew.
            let mut reader = LogReader::at(place);
            for (logged, next) in reader.feed(&file[usize::try_from(place).unwrap()..end]) {
                found.push(logged);
                place = next;
            }
        }
    }
    assert_eq!(found, logged(&file(&records)));
    assert_eq!(found.len(), 4);
}

/// Whoever kills their own sudo while it writes hides what it wrote at that moment, which is told, and nothing of the next.
#[test]
fn half_a_record_hides_no_other() {
    let (first, second) = (called(1, &["id", "x\" y"]), called(2, &["id", "-g"]));
    let whole = file(std::slice::from_ref(&first));
    for end in 4..whole.len() {
        // What was read of it is not read again.
        let mut before = LogReader::at(0).feed(&whole[..end]);
        let place = before.pop().map_or(0, |(_, place)| place);
        let mut torn = whole[..end - 3].to_vec();
        torn.extend_from_slice(format!(",{second}\n}}\n").as_bytes());
        let rest = LogReader::at(place).feed(&torn[usize::try_from(place).unwrap()..]);
        let rest: Vec<Logged> = rest.into_iter().map(|(logged, _)| logged).collect();
        let last = rest.last().unwrap_or_else(|| panic!("nothing is left of the second at {end}"));
        assert_eq!(arguments(last), (vec!["-g"], false), "at {end}");
        let is_told = place > 0 || rest[0] == Logged::Torn || rest.len() == 2;
        assert!(is_told || end < 30, "{end}: {rest:?}");
    }
}
