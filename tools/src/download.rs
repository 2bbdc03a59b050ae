//! One file over HTTP, in a bounded time: whoever cannot reach a server must know within seconds.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::header::AUTHORIZATION;
use ureq::tls::{RootCerts, TlsConfig};

use crate::address::Address;

/// How long finding and reaching a server may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(10);

/// How long all of it may take. Building takes about as long.
const WHOLE: Duration = Duration::from_mins(4);

const MEBIBYTE: u64 = 1024 * 1024;

/// What the thread that reads tells.
enum Step {
    /// So many bytes are there, of so many if the server said how many there will be.
    Read(u64, Option<u64>),
    Over(Result<()>),
}

/// Downloads a file. Says how much of it is there.
///
/// # Errors
/// If the server cannot be reached, does not answer, says anything but yes, or falls silent.
pub(crate) async fn download(address: &Address, file: &Path, say: impl Fn(String)) -> Result<()> {
    download_within(SILENCE, address, file, say).await
}

async fn download_within(
    silence: Duration,
    address: &Address,
    file: &Path,
    say: impl Fn(String),
) -> Result<()> {
    say("connecting".to_owned());
    let (tell, mut steps) = unbounded_channel();
    let (from, into) = (address.clone(), file.to_owned());
    // A thread of its own, which nobody waits for: a task that blocks would hold up the end of the runtime. It ends when
    // nobody listens any more, or with its own limits.
    std::thread::Builder::new()
        .name("download".to_owned())
        .spawn(move || {
            let read = read(&from, &into, &tell);
            let _ = tell.send(Step::Over(read));
        })
        .context("starting a thread")?;
    loop {
        match tokio::time::timeout(silence, steps.recv()).await {
            Ok(Some(Step::Read(bytes, total))) => say(remains(bytes, total)),
            Ok(Some(Step::Over(outcome))) => return outcome.context("downloading"),
            Ok(None) => bail!("downloading ended without a word"),
            Err(_) => bail!("downloading: nothing came for {} s", silence.as_secs_f32()),
        }
    }
}

fn read(address: &Address, file: &Path, tell: &UnboundedSender<Step>) -> Result<()> {
    let mut asked = agent(address.url()).get(address.url());
    if let Some(authorization) = address.authorization() {
        asked = asked.header(AUTHORIZATION, authorization);
    }
    let mut answer = asked.call()?;
    let total = answer.body().content_length();
    let mut out = File::create(file).with_context(|| format!("making {}", file.display()))?;
    let mut reader = answer.body_mut().as_reader();
    let (mut buffer, mut bytes) = (vec![0; 256 * 1024], 0);
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..count]).with_context(|| format!("writing {}", file.display()))?;
        bytes += u64::try_from(count)?;
        tell.send(Step::Read(bytes, total)).map_err(|_| anyhow!("nobody waits for it any more"))?;
    }
}

/// A client that trusts whom this machine trusts, and goes by its proxy if it has one, but not to itself.
fn agent(url: &str) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_global(Some(WHOLE))
        // A mirror may send whoever it knows on to where it keeps its files, and nobody else is to learn who that is.
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .tls_config(tls);
    let is_here =
        ["http://127.0.0.1:", "http://localhost:"].iter().any(|here| url.starts_with(here));
    let config = if is_here { config.proxy(None) } else { config };
    config.build().into()
}

fn remains(bytes: u64, total: Option<u64>) -> String {
    let here = bytes / MEBIBYTE;
    total.map_or_else(
        || format!("{here} MiB"),
        |total| format!("{here} of {} MiB", total / MEBIBYTE),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::{Answer, serve};

    #[tokio::test]
    async fn a_server_that_falls_silent_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = vec![7; 1024];
        for answer in [Answer::Never, Answer::Stall(bytes)] {
            let address = Address::read(&serve(answer)).unwrap();
            let silence = Duration::from_millis(300);
            let ended = download_within(silence, &address, &folder.path().join("file"), drop).await;
            let error = format!("{:#}", ended.unwrap_err());
            assert!(error.contains("nothing came for 0.3 s"), "{error}");
        }
    }

    #[tokio::test]
    async fn who_does_not_listen_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let nobody = Address::read("http://al:s3cret@127.0.0.1:1/x").unwrap();
        let ended = download(&nobody, &folder.path().join("file"), drop).await;
        let error = format!("{:#}", ended.unwrap_err());
        assert!(error.starts_with("downloading: ") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn what_remains_is_said_in_mebibytes() {
        assert_eq!(remains(3 * MEBIBYTE + 5, Some(80 * MEBIBYTE)), "3 of 80 MiB");
        assert_eq!(remains(3 * MEBIBYTE, None), "3 MiB");
    }
}
