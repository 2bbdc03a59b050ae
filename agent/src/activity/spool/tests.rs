use std::path::Path;

use super::*;

fn open(folder: &Path, series: &str) -> Spool {
    Spool::open(folder.to_owned(), MOST, series.to_owned()).unwrap()
}

/// A page with an entry for each of these words, after which the log `g` was read up to there.
fn page(spool: &Spool, words: &[&str], place: u64) -> Page {
    let mut page = Page::after(spool.marks());
    for word in words {
        page.add_lost(DateTime::UNIX_EPOCH, None, word, Author::default());
    }
    page.marks.read.insert("g".into(), place);
    page
}

fn append(spool: &mut Spool, words: &[&str], place: u64) {
    let page = page(spool, words, place);
    spool.append(page, DateTime::UNIX_EPOCH).unwrap();
}

/// What a batch says, with the numbers of its entries.
fn said(batch: &Batch) -> String {
    let of = |line: &str| {
        let entry: Entry = serde_json::from_str(line).unwrap();
        let Event::Lost { why, entries } = entry.event else { panic!("{line}") };
        let entries = entries.map(|count| format!(" ({count})")).unwrap_or_default();
        format!("{}:{why}{entries}", entry.sequence)
    };
    let all: Vec<String> = batch.lines.lines().map(of).collect();
    let lines = batch.lines.lines().count() as u64;
    assert_eq!(lines, batch.last + 1 - batch.first, "{batch:?}");
    format!("{} {}", batch.series, all.join(" "))
}

/// All that the gateway is told by this spool from now on.
fn told(spool: &mut Spool) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(batch) = spool.offer().unwrap() {
        told.push(said(&batch));
        spool.noted(&batch.series, batch.last).unwrap();
    }
    told
}

#[test]
fn what_is_spooled_is_told_once_and_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), "s");
    append(&mut spool, &["a"], 1);
    append(&mut spool, &["b", "c"], 2);
    let first = spool.offer().unwrap().unwrap();
    assert_eq!(said(&first), "s 1:a 2:b 3:c", "small ones go together");
    // What was sent does not change any more.
    append(&mut spool, &["d"], 3);
    append(&mut spool, &["e"], 4);
    let all: Vec<String> = spool.all().unwrap().iter().map(said).collect();
    assert_eq!(all, ["s 1:a 2:b 3:c", "s 4:d 5:e"]);
    assert_eq!(spool.offer().unwrap().unwrap(), first);
    spool.noted("other", 3).unwrap();
    spool.noted("s", 2).unwrap();
    assert_eq!(spool.offer().unwrap().unwrap(), first, "what was not sent cannot be noted");
    assert_eq!(told(&mut spool), ["s 1:a 2:b 3:c", "s 4:d 5:e"]);
    append(&mut spool, &["f"], 5);
    assert_eq!(told(&mut spool), ["s 6:f"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the marks stay");
}

#[test]
fn a_restart_loses_nothing_and_tells_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), "s");
    append(&mut spool, &["a"], 1);
    let sent = spool.offer().unwrap().unwrap();
    append(&mut spool, &["b"], 2);
    let mut spool = open(folder.path(), "t");
    assert_eq!(spool.marks().read["g"], 2);
    append(&mut spool, &["c"], 3);
    assert_eq!(spool.offer().unwrap().unwrap(), sent, "the same once more, for who was not heard");
    assert_eq!(told(&mut spool), ["s 1:a", "s 2:b", "t 1:c"]);
    let mut spool = open(folder.path(), "u");
    assert_eq!((spool.marks().read["g"], told(&mut spool)), (3, vec![]));
    append(&mut spool, &["d"], 4);
    assert_eq!(told(&mut spool), ["u 1:d"]);
}

/// The power goes while something is written: all of it is there, or none.
#[test]
fn half_a_file_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), "s");
    append(&mut spool, &["a"], 1);
    let path = spool.path(0);
    fs::write(folder.path().join(".00000000000000000001.json~"), "{\"number\":1,").unwrap();
    let mut spool = open(folder.path(), "t");
    assert_eq!((spool.marks().read["g"], told(&mut spool)), (1, vec!["s 1:a".to_owned()]));
    // A disk that returns something else than was written to it is no reason to stop.
    append(&mut spool, &["b"], 2);
    let path = path.with_file_name(format!("{:020}.json", 1));
    assert!(path.exists());
    fs::write(&path, "{\"number\":1,").unwrap();
    let mut spool = open(folder.path(), "u");
    append(&mut spool, &["c"], 3);
    let broken = "u 1:c 2:a file of the spool of the host could not be read, and was removed";
    assert_eq!(told(&mut spool), [broken]);
}

#[test]
fn a_full_spool_drops_the_oldest_and_says_how_many() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path().to_owned(), 64 * 1024, "s".into()).unwrap();
    let long = "x".repeat(15_000);
    append(&mut spool, &["first"], 0);
    let first = spool.offer().unwrap().unwrap();
    for place in 1..=12 {
        let word = format!("{place}{long}");
        append(&mut spool, &[&word, "y"], place);
    }
    let size: u64 = spool.kept.iter().map(|kept| kept.bytes).sum();
    assert!(size <= 64 * 1024, "{size}");
    assert_eq!(spool.offer().unwrap().unwrap(), first, "what was sent stays");
    let told = told(&mut spool).join("\n").replace(&long, "");
    let why = "the spool of the host was full while the cluster could not be reached, so the oldest were dropped";
    let counts = told.split(['(', ')']).filter_map(|part| part.parse::<u64>().ok());
    let dropped: u64 = counts.sum();
    let shown = told.split_whitespace().filter(|word| word.contains(':')).count() as u64;
    assert!(told.contains(why) && dropped > 10, "{told}");
    assert_eq!(shown + dropped, spool.last, "each was told, or counted");
}

#[test]
fn what_cannot_be_written_is_not_kept_and_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = open(folder.path(), "s");
    append(&mut spool, &["a"], 1);
    spool.offer().unwrap();
    // A folder under the temporary name can be neither removed as a file nor written.
    let in_the_way = folder.path().join(format!(".{:020}.json~", 1));
    fs::create_dir(&in_the_way).unwrap();
    let next = page(&spool, &["b"], 2);
    assert!(spool.append(next, DateTime::UNIX_EPOCH).is_err());
    assert_eq!(spool.marks().read["g"], 1, "it is read once more");
    fs::remove_dir(&in_the_way).unwrap();
    append(&mut spool, &["b"], 2);
    assert_eq!(told(&mut spool), ["s 1:a", "s 2:b"]);
}
