//! The lines of the log, written by a thread of their own: a pipe that nobody reads, as when the container runtime hangs,
//! must not stop a timer. What does not fit in the queue meanwhile is dropped and counted.

use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait.
const WAITING: usize = 4096;

/// The lines that were dropped.
pub(super) static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

enum Message {
    Line(Vec<u8>),
    /// Says when all that came before is written.
    Flush(SyncSender<()>),
}

/// Takes lines, and never waits.
#[derive(Clone, Debug)]
pub(super) struct Lines(SyncSender<Message>);

impl Lines {
    /// Has lines written to this by a thread of its own.
    pub(super) fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, waiting) = sync_channel(WAITING);
        thread::Builder::new().name("log".to_owned()).spawn(move || write(sink, &waiting))?;
        Ok(Self(sender))
    }

    /// Waits until what came before is written, but no longer than this.
    pub(super) fn flush(&self, within: Duration) {
        let until = Instant::now() + within;
        let (sender, written) = sync_channel(1);
        let mut flush = Message::Flush(sender);
        while let Err(TrySendError::Full(back)) = self.0.try_send(flush) {
            if Instant::now() >= until {
                return;
            }
            flush = back;
            thread::sleep(Duration::from_millis(10));
        }
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Message::Line(line.to_vec())).is_err() {
            DROPPED.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn write(mut sink: impl Write, waiting: &Receiver<Message>) {
    for message in waiting {
        match message {
            // Nobody can be told that the log cannot be written.
            Message::Line(line) => drop(sink.write_all(&line)),
            Message::Flush(written) => drop(written.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, pipe};

    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_stops_nobody() {
        let (mut reader, writer) = pipe().unwrap();
        let mut lines = Lines::to(writer).unwrap();
        let before = DROPPED.get();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        // More than the pipe takes, and the queue.
        let all = WAITING + 1024;
        for _ in 0..all {
            lines.write_all(&line).unwrap();
        }
        let dropped = DROPPED.get() - before;
        assert!(dropped > 0);
        let begun = Instant::now();
        lines.flush(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(30), "nor the end of the program");
        // Whoever reads again gets what was kept, line by line.
        let kept = (all - usize::try_from(dropped).unwrap()) * line.len();
        let mut read = vec![0; kept];
        reader.read_exact(&mut read).unwrap();
        assert!(read.chunks(line.len()).all(|chunk| chunk == line));
        lines.write_all(b"last\n").unwrap();
        lines.flush(Duration::from_secs(30));
        let mut last = [0; 5];
        reader.read_exact(&mut last).unwrap();
        assert_eq!(&last, b"last\n");
    }
}
