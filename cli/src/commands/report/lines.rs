//! Logs, line by line: as streams, of which no more than a line is held.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

/// The most bytes of a line. Events with whole objects have a few megabytes.
pub(super) const MOST: u64 = 32 * 1024 * 1024;

/// Opens a log; `-` is standard input.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(path)?)))
}

/// Reads each line that is not empty; `None` of one that is too long.
pub(super) fn each(mut log: impl BufRead, mut read: impl FnMut(Option<&[u8]>)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = (&mut log).take(MOST).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") && count as u64 == MOST {
            skip_line(&mut log)?;
            read(None);
        } else if !line.iter().all(u8::is_ascii_whitespace) {
            read(Some(&line));
        }
    }
}

/// Passes over the rest of a line, without holding it.
fn skip_line(log: &mut impl BufRead) -> io::Result<()> {
    loop {
        let (count, is_end) = {
            let held = log.fill_buf()?;
            match held.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (held.len(), held.is_empty()),
            }
        };
        log.consume(count);
        if is_end {
            return Ok(());
        }
    }
}
