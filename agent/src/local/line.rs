//! One line in, and lines out, in bounded time: whoever says nothing, says it slowly or does not listen is hung up on.

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::protocol::LONGEST;
use crate::application::handed::receive;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The connection ended, or it took too long.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is too long.
    #[error("the request is longer than {LONGEST} bytes")]
    Long,
    /// It has no end.
    #[error("the request does not end with a line feed")]
    Cut,
    /// There is more than one.
    #[error("there is something after the request: ask on a connection for each")]
    More,
}

/// When something must be done.
#[derive(Clone, Copy, Debug)]
pub struct Limit(Instant);

impl Limit {
    /// After this time from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// How long there still is.
    fn rest(self) -> io::Result<Duration> {
        let rest = self.0.saturating_duration_since(Instant::now());
        if rest.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(rest) }
    }
}

/// Reads the one line of a connection, without its line feed, and what was handed over with its beginning.
///
/// # Errors
/// If there is none within its bounds. Nothing was said at all: an empty one.
pub fn read(
    mut stream: &UnixStream,
    limit: Limit,
    handed: &mut Vec<OwnedFd>,
) -> Result<Vec<u8>, LineError> {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        stream.set_read_timeout(Some(limit.rest()?))?;
        // What is handed over later is closed by the kernel: so it is no more than that of one message.
        let read = if line.is_empty() {
            receive(stream, &mut buffer, handed)
        } else {
            stream.read(&mut buffer)
        };
        let count = match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if count == 0 {
            return if line.is_empty() { Ok(line) } else { Err(LineError::Cut) };
        }
        line.extend_from_slice(&buffer[..count]);
        let end = line.iter().position(|byte| *byte == b'\n');
        if end.unwrap_or(line.len()) > LONGEST {
            return Err(LineError::Long);
        }
        if let Some(end) = end {
            if end + 1 < line.len() {
                return Err(LineError::More);
            }
            line.truncate(end);
            return Ok(line);
        }
    }
}

/// Writes something as a line.
///
/// # Errors
/// If nobody reads it in time.
pub fn write(mut stream: &UnixStream, value: &impl Serialize, limit: Limit) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(limit.rest()?))?;
        match stream.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    #[rstest]
    #[case::a_line(b"{}\n".to_vec(), Ok("{}"))]
    #[case::nothing(vec![], Ok(""))]
    #[case::the_longest([vec![b'x'; LONGEST], vec![b'\n']].concat(), Ok(""))]
    #[case::too_long(vec![b'x'; LONGEST + 1], Err("the request is longer than 65536 bytes"))]
    #[case::a_megabyte([vec![b'x'; 1 << 20], vec![b'\n']].concat(), Err("the request is longer than 65536 bytes"))]
    #[case::cut(b"{}".to_vec(), Err("the request does not end with a line feed"))]
    #[case::two(b"{}\n{}\n".to_vec(), Err("there is something after the request: ask on a connection for each"))]
    fn one_line_is_read(#[case] sent: Vec<u8>, #[case] expected: Result<&str, &str>) {
        let (own, mut other) = UnixStream::pair().unwrap();
        let writing = std::thread::spawn(move || {
            // Who is hung up on cannot write the rest.
            let _ = other.write_all(&sent);
        });
        let read = read(&own, Limit::after(Duration::from_secs(20)), &mut vec![]);
        drop(own);
        writing.join().unwrap();
        match expected {
            Ok("") => assert!(matches!(read.unwrap().len(), 0 | LONGEST)),
            Ok(expected) => assert_eq!(read.unwrap(), expected.as_bytes()),
            Err(expected) => assert_eq!(read.unwrap_err().to_string(), expected),
        }
    }

    #[test]
    fn who_says_nothing_is_not_waited_for() {
        let (own, _other) = UnixStream::pair().unwrap();
        let began = Instant::now();
        assert!(matches!(read(&own, Limit::after(SHORT), &mut vec![]), Err(LineError::Io(_))));
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn nor_is_who_says_it_byte_by_byte() {
        let (own, mut other) = UnixStream::pair().unwrap();
        let saying = std::thread::spawn(move || {
            while other.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let began = Instant::now();
        assert!(read(&own, Limit::after(SHORT), &mut vec![]).is_err());
        assert!(began.elapsed() < Duration::from_secs(5));
        drop(own);
        saying.join().unwrap();
    }

    #[test]
    fn nor_is_who_does_not_listen() {
        let (own, _other) = UnixStream::pair().unwrap();
        let (began, text) = (Instant::now(), "x".repeat(60_000));
        let limit = Limit::after(SHORT);
        while write(&own, &text, limit).is_ok() {}
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
