use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

/// What `busctl call` of systemd 252 sends for the scope below, but for a flag by which systemd may ask somebody first.
const SENT: [&[u8]; 19] = [
    b"l\x01\0\x01\0\x01\0\0\x02\0\0\0\xb6\0\0\0\x01\x01o\0\x19\0\0\0",
    b"/org/freedesktop/systemd",
    b"1\0\0\0\0\0\0\0\x03\x01s\0\x12\0\0\0StartTra",
    b"nsientUnit\0\0\0\0\0\0\x02\x01s\0 \0\0\0",
    b"org.freedesktop.systemd1",
    b".Manager\0\0\0\0\0\0\0\0\x06\x01s\0\x18\0\0\0",
    b"org.freedesktop.systemd1",
    b"\0\0\0\0\0\0\0\0\x08\x01g\0\x10ssa(sv)a(sa",
    b"(sv))\0\0\0\x15\0\0\0lapse-0123-7",
    b"7-5.scope\0\0\0\x04\0\0\0fail\0\0\0\0",
    b"\xc8\0\0\0\0\0\0\0\x04\0\0\0PIDs\0\x02au\0\0\0\0",
    b"\x04\0\0\0M\0\0\0\x05\0\0\0Slice\0\x01s\0\0\0\0",
    b"\x10\0\0\0lapse-0123.slice\0\0\0\0",
    b"\x0b\0\0\0Description\0\x01s\0\0\x13\0\0\0",
    b"sudo by the Grant g\0\0\0\0\0",
    b"\x0e\0\0\0RuntimeMaxUSec\0\x01t\0\0\0",
    b"\0F\xc3#\0\0\0\0\x0f\0\0\0TimeoutStopU",
    b"Sec\0\x01t\0\0\xa0\x86\x01\0\0\0\0\0\x0b\0\0\0Send",
    b"SIGKILL\0\x01b\0\0\x01\0\0\0\0\0\0\0\0\0\0\0",
];

fn scope() -> Scope<'static> {
    Scope {
        unit: "lapse-0123-77-5.scope",
        process: 77,
        slice: "lapse-0123.slice",
        description: "sudo by the Grant g",
        longest: Duration::from_mins(10),
        grace: Duration::from_millis(100),
    }
}

#[test]
fn systemd_is_asked_as_by_its_own_program() {
    assert_eq!(asked(&scope()), SENT.concat());
}

/// A message of a bus: of this kind, to this one of ours, with a text.
fn message(kind: u8, to: u32, text: &str) -> Vec<u8> {
    let mut body = Writer::default();
    body.text(text);
    let mut message = Writer(vec![b'l', kind, 1, 1]);
    message.number(length(&body.0));
    message.number(9);
    message.array(8, |fields| {
        for (field, value) in [(6, ":1.42"), (7, "org.freedesktop.DBus")] {
            fields.property_of(field, "s", |value_of| value_of.text(value));
        }
        fields.property_of(8, "g", |value| value.signature("s"));
        if to > 0 {
            fields.property_of(5, "u", |value| value.number(to));
        }
    });
    message.align(8);
    message.0.extend(body.0);
    message.0
}

impl Writer {
    fn property_of(&mut self, field: u8, kind: &str, value: impl FnOnce(&mut Self)) {
        self.align(8);
        self.0.push(field);
        self.signature(kind);
        value(self);
    }
}

/// Asks a bus that answers this, and returns what it was told and what came of it.
fn ask(answers: Vec<u8>) -> (Vec<u8>, io::Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus");
    let listener = UnixListener::bind(&path).unwrap();
    let bus = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&answers).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut told = Vec::new();
        stream.read_to_end(&mut told).unwrap();
        told
    });
    let outcome = start_scope(&path, &scope());
    (bus.join().unwrap(), outcome)
}

#[test]
fn it_is_done_when_systemd_says_so_and_not_before() {
    let (named, hello) = (message(4, 0, ":1.42"), message(RETURN, HELLO, ":1.42"));
    let ok = b"OK 0123\r\n".to_vec();
    let job = message(RETURN, ASKED, "/job/7");
    let (told, outcome) = ask([ok.clone(), hello.clone(), named.clone(), job].concat());
    outcome.unwrap();
    let own: String = geteuid().to_string().chars().flat_map(|digit| ['3', digit]).collect();
    assert!(told.starts_with(format!("\0AUTH EXTERNAL {own}\r\nBEGIN\r\nl").as_bytes()));
    assert!(told.ends_with(&SENT.concat()));
    let said = |answers: Vec<u8>| ask(answers).1.unwrap_err().to_string();
    let refused = message(ERROR, ASKED, "Process with ID 77 does not exist.");
    let after = [ok.clone(), hello.clone(), refused].concat();
    assert_eq!(said(after), "Process with ID 77 does not exist.");
    assert_eq!(said(b"REJECTED EXTERNAL\r\n".to_vec()), "D-Bus takes it for nobody");
    let unanswered = ask([ok, hello, named].concat()).1.unwrap_err();
    assert_eq!(unanswered.kind(), io::ErrorKind::UnexpectedEof, "it has hung up");
}

#[test]
fn a_bus_that_is_not_there_is_named() {
    let error = start_scope(Path::new("/no/such/bus"), &scope()).unwrap_err().to_string();
    assert!(error.starts_with("/no/such/bus: "), "{error}");
}

#[test]
fn what_cannot_be_understood_is_no_answer() {
    let whole = message(RETURN, ASKED, "/job/7");
    let read = |bytes: &[u8]| Answer::read(&mut &*bytes);
    let answer = read(&whole).unwrap();
    assert_eq!(answer, Answer { kind: RETURN, to: ASKED, text: "/job/7".to_owned() });
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end} bytes of it");
    }
    // Whatever a byte is, nothing breaks.
    for at in 0..whole.len() {
        for byte in [0, 1, 7, 0x7f, 0xff] {
            let mut other = whole.clone();
            other[at] = byte;
            let _ = read(&other);
        }
    }
    let mut long = whole;
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(&long).unwrap_err().kind(), io::ErrorKind::InvalidData);
}
