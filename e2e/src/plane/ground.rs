//! Where the servers of a control plane run when it has nodes: in namespaces of their own, which the nodes share a
//! network with.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use super::net::loopback;
use super::process::Spec;

/// A place with a network of its own.
#[derive(Clone, Debug)]
pub struct Ground {
    /// What a command is preceded by to run there: a program and its arguments.
    pub enter: Vec<String>,
    /// The file of its network namespace.
    pub network: PathBuf,
    /// The address by which nodes reach it.
    pub address: Ipv4Addr,
}

impl Ground {
    /// The same process, but there.
    #[must_use]
    pub fn there(&self, mut spec: Spec) -> Spec {
        let mut words = self.enter.iter().cloned();
        let Some(program) = words.next() else { return spec };
        let program = std::mem::replace(&mut spec.program, program.into());
        let args = std::mem::take(&mut spec.args);
        spec.args = words.chain([program.display().to_string()]).chain(args).collect();
        spec
    }

    /// Passes what comes to a port here on to the same port there, as long as this process lives: an address that
    /// names the port is right on both sides.
    pub fn forward(&self, port: u16) -> Result<()> {
        let network = File::open(&self.network)
            .with_context(|| format!("opening {}", self.network.display()))?;
        let network = Arc::new(network);
        let listener = TcpListener::bind(loopback(port)).context("listening for the nodes")?;
        // Threads, because it outlives the runtime of the test that began it.
        spawn("forward", move || {
            for stream in listener.incoming().flatten() {
                let network = Arc::clone(&network);
                // Without a thread the caller sees its connection closed, and tries again.
                let _ = spawn("forward one", move || {
                    if let Ok(there) = connect(&network, loopback(port)) {
                        let _ = pass_on(stream, there);
                    }
                });
            }
        })
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).context("starting a thread")?;
    Ok(())
}

/// Connects from the other network. Only the thread that calls this moves there.
fn connect(network: &File, address: SocketAddr) -> Result<TcpStream> {
    setns(network, CloneFlags::CLONE_NEWNET).context("entering the nodes' network")?;
    TcpStream::connect(address).with_context(|| format!("connecting to {address} there"))
}

/// Copies in both directions until both are closed.
fn pass_on(here: TcpStream, there: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (there.try_clone()?, here.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let (mut from, mut to) = (here, there);
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
    let _ = back.join();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_command_is_preceded_by_what_enters() {
        let ground = Ground {
            enter: ["nsenter", "--target", "7"].map(String::from).to_vec(),
            network: PathBuf::new(),
            address: Ipv4Addr::LOCALHOST,
        };
        let spec = ground.there(Spec {
            name: "etcd".to_owned(),
            program: "/bin/etcd".into(),
            args: vec!["--x".to_owned()],
            env: BTreeMap::new(),
            inherit_env: false,
            folder: None,
            log: PathBuf::new(),
        });
        assert_eq!(spec.program, PathBuf::from("nsenter"));
        assert_eq!(spec.args, ["--target", "7", "/bin/etcd", "--x"]);
    }
}
