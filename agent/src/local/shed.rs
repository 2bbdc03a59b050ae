//! How a connection is closed that is not served.
//!
//! Whoever connects may have sent descriptors along, and the last one to close such a one may wait for as long as its maker
//! chose (`SO_LINGER`). The kernel does not wait in a thread that exits. So these are closed by a thread that has a table of
//! descriptors of its own, and ends.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::Builder;

use nix::sched::{CloneFlags, unshare};
use tokio::sync::oneshot;

use super::protocol::{Answer, Message};

/// How much memory such a thread may use for its calls, in bytes.
const STACK: usize = 64 * 1024;

/// Says why, as far as that can be said at once, and hangs up.
pub(super) async fn refuse(stream: UnixStream, why: &str) {
    hang_up(stream, &Answer::refused(why)).await;
}

/// As [`refuse`], where there is a place again in a moment.
pub(super) async fn put_off(stream: UnixStream, why: &str) {
    hang_up(stream, &Answer::Busy(Message { message: why.to_owned() })).await;
}

async fn hang_up(mut stream: UnixStream, answer: &Answer) {
    // One that was just made takes a line without waiting.
    if stream.set_nonblocking(true).is_ok()
        && let Ok(line) = serde_json::to_vec(answer)
    {
        let _ = stream.write_all(&[line, b"\n".to_vec()].concat());
    }
    close(stream.into()).await;
}

/// Closes something without waiting for what hangs on it.
async fn close(descriptor: OwnedFd) {
    let (ready, is_ready) = oneshot::channel();
    let (closed, is_closed) = mpsc::channel::<()>();
    let thread = Builder::new().name("shed".to_owned()).stack_size(STACK).spawn(move || {
        if unshare(CloneFlags::CLONE_FILES).is_ok() && ready.send(()).is_ok() {
            // Nothing is ever sent: the other end goes once the descriptor has.
            let _ = is_closed.recv();
        }
    });
    if thread.is_ok() {
        // From now on the thread has it, too, and is the last one who has.
        let _ = is_ready.await;
    }
    drop(descriptor);
    drop(closed);
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    /// A connection whose other end reads nothing: closing it waits for that.
    fn lingering(listener: &TcpListener) -> TcpStream {
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 8_192]).is_ok() {}
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::from_secs(4))).unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    }

    #[tokio::test]
    async fn what_hangs_on_a_connection_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (closed, slow) = (lingering(&listener), lingering(&listener));
        let began = Instant::now();
        drop(slow);
        assert!(began.elapsed() > Duration::from_secs(3), "otherwise this test shows nothing");
        let began = Instant::now();
        close(closed.into()).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn who_is_not_served_is_told_why() {
        let (own, mut other) = UnixStream::pair().unwrap();
        put_off(own, "the agent is busy with other people: try again").await;
        let mut said = String::new();
        other.read_to_string(&mut said).unwrap();
        let expected =
            r#"{"answer":"busy","message":"the agent is busy with other people: try again"}"#;
        assert_eq!(said, format!("{expected}\n"));
    }
}
