//! Who comes in. Each connection that is served has a thread, so that whoever stalls theirs stalls nobody else; the others are
//! turned away at once.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::desk::{Desk, attend};
use super::peers::{Peer, Residents};
use super::shed::{put_off, refuse};
use super::slots::Slots;
use crate::durable;
use crate::places::Places;

/// How many connections may wait to be looked at.
const WAITING: u32 = 128;
/// The pause after a connection could not be accepted, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// How long somebody keeps their place after they were served: it bounds how often one person is served.
const BREATH: Duration = Duration::from_millis(50);
/// How much memory a connection may use for its calls, in bytes.
const STACK: usize = 256 * 1024;

/// Opens the socket, in the place of one that an earlier process has left. Only one agent runs at a time.
///
/// # Errors
/// If it cannot be opened.
pub fn open(places: &Places) -> io::Result<UnixListener> {
    let path = places.socket();
    durable::remove(&path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(&path)?;
    // Everybody may ask; who they are is what the kernel says.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    socket.listen(WAITING)
}

/// Lets people in for ever.
pub async fn serve(listener: UnixListener, places: Places, desk: Arc<Desk>) {
    let (slots, mut residents) = (Slots::default(), Residents::new(places));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "nobody on the host is let in");
                sleep(PAUSE).await;
                continue;
            }
        };
        let peer = Peer::of(&stream);
        let Ok(stream) = stream.into_std() else { continue };
        match peer {
            Ok(peer) => admit(stream, peer, &slots, &mut residents, &desk).await,
            Err(error) => refuse(stream, &format!("who you are is not known: {error}")).await,
        }
    }
}

async fn admit(
    stream: UnixStream,
    peer: Peer,
    slots: &Slots,
    residents: &mut Residents,
    desk: &Arc<Desk>,
) {
    if !residents.know(peer.uid) {
        let why =
            "you are no local user of this host (/etc/passwd), and only they hold access here";
        return refuse(stream, why).await;
    }
    let slot = match slots.take(peer.uid) {
        Ok(slot) => slot,
        Err(full) => {
            debug!(peer.uid, peer.pid, %full, "somebody on the host is turned away");
            return put_off(stream, &full.to_string()).await;
        }
    };
    let desk = desk.clone();
    let serving = move || {
        let is_ready = stream.set_nonblocking(false).is_ok();
        let started = is_ready.then(|| desk.serve(&stream, peer)).flatten();
        let slot = if let Some(started) = started {
            std::thread::sleep(BREATH);
            // What runs has a place of its own.
            drop(slot);
            attend(&stream, started, peer);
            None
        } else {
            Some(slot)
        };
        // Closing may wait for what was sent along, and is a part of being served.
        drop(stream);
        std::thread::sleep(BREATH);
        drop(slot);
    };
    let thread = Builder::new().name("local".to_owned()).stack_size(STACK).spawn(serving);
    if let Err(error) = thread {
        warn!(%error, "somebody on the host is not served");
    }
}

#[cfg(test)]
mod tests;
