//! Archives of the published shape, and a server for them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use lapse_images::hexadecimal;
use sha2::{Digest as _, Sha512};

use super::Archive;
use crate::address::Address;

/// An archive with scripts that say their names.
pub(crate) fn tarball(programs: &[&str]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for program in programs {
        let script = format!("#!/bin/sh\necho {program}\n");
        let mut header = tar::Header::new_gnu();
        header.set_size(script.len().try_into().unwrap());
        header.set_mode(0o755);
        let path = format!("controller-tools/envtest/{program}");
        tar.append_data(&mut header, path, script.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// The archive of this machine at this address, if it had these bytes.
pub(crate) fn archive_at(address: &str, bytes: &[u8]) -> Archive {
    let sha512 = hexadecimal(&Sha512::digest(bytes));
    let address = Address::read(address).unwrap();
    Archive { sha512, ..Archive::pinned(&address).unwrap() }
}

/// How a server answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Whole(Vec<u8>),
    /// It says that more follows than this, and closes.
    Cut(Vec<u8>),
    NotFound,
    /// It accepts, and says no more.
    Never,
    /// It begins to answer, and says no more.
    Stall(Vec<u8>),
}

/// Answers everybody in this way, as long as the process lives; its address.
pub(crate) fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || respond(stream.unwrap(), &answer));
        }
    });
    address
}

fn respond(mut stream: TcpStream, answer: &Answer) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).unwrap();
    let (status, length, body) = match answer {
        Answer::Whole(bytes) => ("200 OK", bytes.len(), &bytes[..]),
        Answer::Cut(bytes) | Answer::Stall(bytes) => ("200 OK", bytes.len() * 2, &bytes[..]),
        Answer::NotFound => ("404 Not Found", 0, &[][..]),
        Answer::Never => return std::thread::sleep(Duration::from_mins(1)),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // Whoever gave up meanwhile reads no more.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    if matches!(answer, Answer::Stall(_)) {
        std::thread::sleep(Duration::from_mins(1));
    }
}
