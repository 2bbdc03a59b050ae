//! Ports, readiness and waiting with a deadline.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long between two looks at something that is awaited.
const PAUSE: Duration = Duration::from_millis(20);

/// How long anything may take that must happen by itself. Long: a test says whether, not how fast.
pub const SOON: Duration = Duration::from_mins(2);

/// Below the ports that systems give to outgoing connections: one of those could take a port
/// between our looking and the server's listening.
const PORTS: std::ops::Range<u32> = 15_000..32_000;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port on the loopback address that nobody listens on and that was not given before.
pub fn free_port() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // At random, so that test binaries that run at the same time do not meet.
    for _ in 0..1000 {
        let random = getrandom::u32().context("drawing a port")?;
        let port = u16::try_from(PORTS.start + random % (PORTS.end - PORTS.start))?;
        if !given.contains(&port) && TcpListener::bind(loopback(port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port between {} and {} on 127.0.0.1", PORTS.start, PORTS.end)
}

/// The loopback address with this port.
#[must_use]
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Waits until a moment has passed.
pub async fn until(moment: DateTime<Utc>) {
    let rest = moment - lapse_cluster::clock::now() + TimeDelta::milliseconds(1);
    tokio::time::sleep(rest.to_std().unwrap_or_default()).await;
}

/// Looks again and again until there is something, at most until the deadline.
///
/// # Errors
/// At the deadline, with the last error that the look-up gave, if it gave one.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        let problem = match tokio::time::timeout(deadline, look()).await {
            Ok(Ok(Some(found))) => return Ok(found),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(anyhow!("no answer")),
        };
        if Instant::now() >= end {
            let message = format!("waited {deadline:?} in vain for: {what}");
            return Err(match problem {
                Some(problem) => problem.context(message),
                None => anyhow!(message),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The status code of a plain `GET`, for health end points.
pub async fn http_status(address: SocketAddr, path: &str) -> Result<u16> {
    let answer = http_get(address, path).await?;
    parse_status(&answer).with_context(|| format!("http://{address}{path} gave no HTTP answer"))
}

/// The whole answer to a plain `GET`.
pub(super) async fn http_get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn parse_status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|&byte| byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once() {
        let ports: BTreeSet<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 50);
    }

    #[test]
    fn a_status_line_is_read() {
        assert_eq!(parse_status(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno"), Some(503));
        assert_eq!(parse_status(b"SSH-2.0"), None);
    }

    #[tokio::test]
    async fn waiting_ends_at_the_deadline_with_the_last_error() {
        let look = async || -> Result<Option<()>> { bail!("not there") };
        let error = eventually("a thing", Duration::from_millis(1), look).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("a thing") && text.contains("not there"), "{text}");
    }
}
