//! Asks systemd for a scope by D-Bus, without a program in between: whoever calls sudo waits for it.
//!
//! Nothing is said that depends on an answer, so all is said at once: who this is, that it is there, and what it asks for
//! (<https://dbus.freedesktop.org/doc/dbus-specification.html>).

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::unistd::geteuid;

/// Where the bus of a host is.
pub const BUS: &str = "/run/dbus/system_bus_socket";
/// How long each answer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MOST: u32 = 64 * 1024;
/// What the messages are numbered by: that this is there, and what it asks for.
const HELLO: u32 = 1;
const ASKED: u32 = 2;
/// The kinds of messages.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;

/// A group of processes that ends by itself.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// What its unit is called.
    pub unit: &'a str,
    /// The process that it is made of.
    pub process: u32,
    /// The slice that it lies in.
    pub slice: &'a str,
    /// What it is, for people.
    pub description: &'a str,
    /// How long it may last.
    pub longest: Duration,
    /// How long its processes are asked to end before they are killed.
    pub grace: Duration,
}

/// Has systemd put a process into a scope. It answers before the process is moved.
///
/// # Errors
/// If it does not.
pub fn start_scope(bus: &Path, scope: &Scope<'_>) -> io::Result<()> {
    let mut stream = UnixStream::connect(bus)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", bus.display())))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    // Each byte of it in hexadecimal, and the digits of a number are 30 to 39.
    let own: String = geteuid().to_string().chars().flat_map(|digit| ['3', digit]).collect();
    let mut said = format!("\0AUTH EXTERNAL {own}\r\nBEGIN\r\n").into_bytes();
    let bus = ["/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", "org.freedesktop.DBus"];
    said.extend(call(HELLO, bus, "", &[]));
    said.extend(asked(scope));
    let answered = stream.write_all(&said).and_then(|()| hear(&mut BufReader::new(stream)));
    answered.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let message = format!("systemd does not answer within {} s", LIMIT.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, message)
        }
        _ => error,
    })
}

/// Reads until what was asked for is answered.
fn hear(answers: &mut impl io::BufRead) -> io::Result<()> {
    let mut line = Vec::new();
    answers.by_ref().take(u64::from(MOST)).read_until(b'\n', &mut line)?;
    if !line.starts_with(b"OK ") {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "D-Bus takes it for nobody"));
    }
    loop {
        let answer = Answer::read(answers)?;
        match answer.kind {
            ERROR => return Err(io::Error::other(answer.text)),
            RETURN if answer.to == ASKED => return Ok(()),
            // That it has a name now, and what else the bus tells everybody.
            _ => {}
        }
    }
}

/// What is asked of systemd.
fn asked(scope: &Scope<'_>) -> Vec<u8> {
    let Scope { unit, process, slice, description, longest, grace } = *scope;
    let microseconds = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let mut body = Writer::default();
    body.text(unit);
    body.text("fail");
    body.array(8, |all| {
        all.property("PIDs", "au", |value| value.array(4, |all| all.number(process)));
        all.property("Slice", "s", |value| value.text(slice));
        all.property("Description", "s", |value| value.text(description));
        all.property("RuntimeMaxUSec", "t", |value| value.long(microseconds(longest)));
        all.property("TimeoutStopUSec", "t", |value| value.long(microseconds(grace)));
        all.property("SendSIGKILL", "b", |value| value.number(1));
    });
    // No units beside it.
    body.array(8, |_| {});
    let systemd = [
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "StartTransientUnit",
        "org.freedesktop.systemd1",
    ];
    call(ASKED, systemd, "ssa(sv)a(sa(sv))", &body.0)
}

/// A call of a method: of this object, of this interface, by this name, of whoever has this name on the bus.
fn call(
    number: u32,
    [path, interface, member, destination]: [&str; 4],
    signature: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut message = Writer::default();
    message.0.extend([b'l', CALL, 0, 1]);
    message.number(length(body));
    message.number(number);
    message.array(8, |fields| {
        let texts = [(1, "o", path), (3, "s", member), (2, "s", interface), (6, "s", destination)];
        for (field, kind, value) in texts {
            fields.align(8);
            fields.0.push(field);
            fields.signature(kind);
            fields.text(value);
        }
        if !signature.is_empty() {
            fields.align(8);
            fields.0.push(8);
            fields.signature("g");
            fields.signature(signature);
        }
    });
    message.align(8);
    message.0.extend_from_slice(body);
    message.0
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Values as they are sent, each where its kind may begin.
#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_le_bytes());
    }

    fn text(&mut self, value: &str) {
        self.number(length(value.as_bytes()));
        self.0.extend(value.bytes().chain([0]));
    }

    /// One of ours, which are all short.
    fn signature(&mut self, value: &str) {
        self.0.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        self.0.extend(value.bytes().chain([0]));
    }

    fn array(&mut self, align: usize, content: impl FnOnce(&mut Self)) {
        self.number(0);
        let before = self.0.len();
        self.align(align);
        let from = self.0.len();
        content(self);
        let length = length(&self.0[from..]);
        self.0[before - 4..before].copy_from_slice(&length.to_le_bytes());
    }

    fn property(&mut self, name: &str, kind: &str, value: impl FnOnce(&mut Self)) {
        self.align(8);
        self.text(name);
        self.signature(kind);
        value(self);
    }
}

/// A message that came, as far as it is of interest.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    kind: u8,
    /// Which message it answers; 0 if none.
    to: u32,
    /// The first text in it: what is wrong, if something is.
    text: String,
}

impl Answer {
    fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 16];
        from.read_exact(&mut head)?;
        let mut reader = Reader { bytes: &head, at: 4 };
        let (body, _, fields) = (reader.number(), reader.number(), reader.number());
        let is_ours = head[0] == b'l' && head[3] == 1;
        let (Some(body), Some(fields), true) = (body, fields, is_ours) else {
            return Err(strange());
        };
        if body > MOST || fields > MOST {
            return Err(strange());
        }
        let mut rest = vec![0; fields.next_multiple_of(8) as usize + body as usize];
        from.read_exact(&mut rest)?;
        let (fields, body) = (&rest[..fields as usize], &rest[rest.len() - body as usize..]);
        let text = Reader { bytes: body, at: 0 }.text().unwrap_or_default();
        Ok(Self { kind: head[1], to: answered(fields).ok_or_else(strange)?, text })
    }
}

/// Which message is answered, by the fields of the answer, 0 if none is; `None` if they cannot be understood.
fn answered(fields: &[u8]) -> Option<u32> {
    let mut reader = Reader { bytes: fields, at: 0 };
    let mut to = 0;
    while reader.at < fields.len() {
        reader.align(8);
        let field = reader.byte()?;
        match reader.signature()?.as_slice() {
            b"u" if field == 5 => to = reader.number()?,
            b"u" => _ = reader.number()?,
            b"s" | b"o" => _ = reader.text()?,
            b"g" => _ = reader.signature()?,
            _ => return None,
        }
    }
    Some(to)
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "D-Bus says what cannot be understood")
}

/// Values as they came.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        let text = self.take(length as usize)?;
        self.take(1)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn signature(&mut self) -> Option<Vec<u8>> {
        let length = self.byte()?;
        let signature = self.take(usize::from(length))?;
        self.take(1)?;
        Some(signature.to_vec())
    }
}

#[cfg(test)]
mod tests;
