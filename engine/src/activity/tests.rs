use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::DateTime;
use ed25519_dalek::SigningKey;
use lapse_crds::{RequestRef, Timestamp};
use rstest::rstest;

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap().into()
}

fn entry(sequence: u64, event: Event) -> Entry {
    let request = RequestRef { namespace: "ops".into(), name: "fix".into(), uid: "r-1".into() };
    let under = Under {
        grant: "ops-fix-0123456789".into(),
        request,
        ticket: Some("INC1".into()),
        holder: "alice".into(),
        names_commands: false,
    };
    Entry {
        sequence,
        at: at(0),
        event,
        user: Some("al".into()),
        uid: Some(1000),
        under: Some(under),
    }
}

fn call() -> Call {
    Call {
        session: "1796074938.518053956".into(),
        program: "/usr/bin/id".into(),
        arguments: vec!["-u".into(), "a\n\"b".into()],
        folder: Some("/home/al".into()),
        run_as: Some("root".into()),
        ..Call::default()
    }
}

fn batch(entries: &[Entry]) -> Batch {
    let lines = entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect();
    Batch {
        series: "a1".into(),
        first: entries[0].sequence,
        last: entries[entries.len() - 1].sequence,
        lines,
    }
}

/// What the Endpoint `u-1` makes of a batch that the key 5 signed for it, after this was done to it.
fn judged(
    change: impl FnOnce(&mut Batch, &mut Vec<u8>),
) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, String> {
    let mut batch = batch(&[entry(4, Event::Command(call())), entry(5, Event::Command(call()))]);
    let mut signature = batch.sign("u-1", &key(5)).unwrap().to_vec();
    change(&mut batch, &mut signature);
    let public = BASE64.encode(key(5).verifying_key().as_bytes());
    verify_batch(&public, "u-1", &batch, &signature).map_err(|error| error.to_string())
}

/// Signed again after a change: the agent itself is not to be trusted more than its key.
fn signed_anew(change: impl FnOnce(&mut Batch)) -> String {
    judged(|batch, signature| {
        change(batch);
        *signature = batch.sign("u-1", &key(5)).unwrap().to_vec();
    })
    .unwrap_err()
}

#[test]
fn what_an_agent_signed_is_believed_and_nothing_else() {
    assert_eq!(judged(|_, _| {}).unwrap().len(), 2);
    let not_signed = "it is not signed with the key of the agent that enrolled";
    let refused = |change: fn(&mut Batch)| judged(|batch, _| change(batch)).unwrap_err();
    assert_eq!(refused(|batch| batch.lines = batch.lines.replace("/id", "/ls")), not_signed);
    assert_eq!(refused(|batch| batch.series = "b".into()), not_signed);
    assert_eq!(refused(|batch| batch.first = 3), not_signed);
    let elsewhere = judged(|batch, signature| {
        *signature = batch.sign("u-2", &key(5)).unwrap().to_vec();
    });
    assert_eq!(elsewhere.unwrap_err(), not_signed);
    let by_another = judged(|batch, signature| {
        *signature = batch.sign("u-1", &key(6)).unwrap().to_vec();
    });
    assert_eq!(by_another.unwrap_err(), not_signed);
    let short = judged(|_, signature| signature.truncate(63)).unwrap_err();
    assert_eq!(short, "it cannot be read: its signature does not have 64 bytes");
}

#[test]
fn what_a_batch_says_of_itself_is_looked_at() {
    let not_numbered = "it cannot be read: its entries are not numbered as it says";
    let lacking = "it cannot be read: it lacks entries that it names";
    assert_eq!(signed_anew(|batch| batch.first = 3), not_numbered);
    assert_eq!(signed_anew(|batch| batch.last = 6), lacking);
    assert_eq!(signed_anew(|batch| batch.lines.clear()), lacking);
    assert_eq!(
        signed_anew(|batch| batch.series = "a/b".into()),
        "it cannot be read: the name of its series has other than letters and digits"
    );
    assert_eq!(
        signed_anew(|batch| batch.lines = " ".repeat(MOST_BYTES + 1)),
        "it cannot be read: it has more than 65536 bytes"
    );
    assert!(signed_anew(|batch| batch.lines = "[]\n".into()).starts_with("it cannot be read: "));
}

#[rstest]
#[case::session(Event::Session { process: 7, terminal: None, called: vec!["sudo".into()] })]
#[case::command(Event::Command(call()))]
#[case::child(Event::Command(Call { is_child: true, folder: None, ..call() }))]
#[case::exit(Event::Exit { session: "1.2".into(), exit: 137, signal: Some("KILL".into()) })]
#[case::refused(Event::Refused { call: call(), why: "command not allowed".into() })]
#[case::lost(Event::Lost { entries: None, why: "the log of sudo was full".into() })]
fn a_line_is_read_as_it_is_written(#[case] event: Event) {
    let known = entry(1, event.clone());
    let unknown = Entry { under: None, user: None, uid: None, ..entry(2, event) };
    for entry in [known, unknown] {
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry, "{text}");
    }
}

#[test]
fn an_exported_line_says_who_did_what_by_which_right_on_which_host() {
    let line = Line {
        stream: STREAM.into(),
        heard_at: at(1),
        endpoint: "web-1".into(),
        endpoint_uid: "u-1".into(),
        series: "a1".into(),
    };
    let own = serde_json::to_value(entry(4, Event::Command(call()))).unwrap();
    let mut own = own.as_object().unwrap().clone();
    let text = exported(&line, &own).unwrap();
    insta::assert_snapshot!(text, @r#"{"arguments":["-u","a\n\"b"],"at":"2027-01-15T08:00:00.000000Z","endpoint":"web-1","endpointUid":"u-1","folder":"/home/al","grant":"ops-fix-0123456789","heardAt":"2027-01-15T08:00:01.000000Z","holder":"alice","kind":"Command","program":"/usr/bin/id","request":{"name":"fix","namespace":"ops","uid":"r-1"},"runAs":"root","sequence":4,"series":"a1","session":"1796074938.518053956","stream":"lapse.dev/session-record","ticket":"INC1","uid":1000,"user":"al"}"#);
    let read: Exported = serde_json::from_str(&text).unwrap();
    assert_eq!((read.line, read.entry.sequence), (line.clone(), 4));
    // A host that says that it is another one is not.
    own.insert("endpoint".into(), "db-1".into());
    assert_eq!(exported(&line, &own).unwrap(), text);
}
