//! What somebody hands over on a socket: the descriptors for the standard input, output and error of what is run for them.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::socket_domain;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// How many there are.
const ALL: usize = 3;

/// Why they are not taken.
#[derive(Debug, thiserror::Error)]
pub enum HandedError {
    /// More or fewer.
    #[error(
        "a program needs three descriptors, for its standard input, output and error, and {0} were handed over: use `lapse \
         run` of the agent's own package"
    )]
    Count(usize),
    /// One that is none of what programs read from and write to.
    #[error(
        "descriptor {0} is neither a terminal, a file, a pipe nor a local socket: redirect it, such as by </dev/null or | cat"
    )]
    Kind(usize),
    /// One that says nothing of itself.
    #[error("looking at descriptor {0}: {1}")]
    Io(usize, io::Error),
}

/// Reads from a socket what there is, and what was handed over along with it: more than a few are closed by the kernel.
///
/// # Errors
/// If it cannot be read.
pub fn receive(
    stream: &UnixStream,
    buffer: &mut [u8],
    handed: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ALL))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // No program that is started meanwhile gets them.
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            handed.extend(descriptors);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        // There were more than that, so these are not what was meant.
        handed.clear();
    }
    Ok(received.bytes)
}

/// Says something on a socket, and hands these over along with it.
///
/// # Errors
/// If nobody takes it, or not at once.
pub fn send(stream: &UnixStream, text: &[u8], handed: [BorrowedFd<'_>; ALL]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ALL))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&handed)) {
        return Err(io::Error::other("there is no room for the descriptors"));
    }
    // Who has hung up is told of by an error, and not by a signal.
    let sent = sendmsg(stream, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// The three of a program. What is not taken is closed.
///
/// # Errors
/// If they are not three, or not what a program reads from and writes to. Closing the end of a connection, say, may wait for
/// as long as its maker chose.
pub fn check(handed: Vec<OwnedFd>) -> Result<[OwnedFd; ALL], HandedError> {
    let handed: [OwnedFd; ALL] =
        handed.try_into().map_err(|handed: Vec<OwnedFd>| HandedError::Count(handed.len()))?;
    for (number, descriptor) in handed.iter().enumerate() {
        let wrong = |error: io::Error| HandedError::Io(number, error);
        let file = File::from(descriptor.try_clone().map_err(wrong)?);
        let kind = file.metadata().map_err(wrong)?.file_type();
        let is_local =
            || socket_domain(descriptor.as_fd()).is_ok_and(|domain| domain == AddressFamily::UNIX);
        let is_fine = kind.is_char_device()
            || kind.is_file()
            || kind.is_fifo()
            || (kind.is_socket() && is_local());
        if !is_fine {
            return Err(HandedError::Kind(number));
        }
    }
    Ok(handed)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    fn null() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn what_is_handed_over_is_the_same_and_no_other_program_gets_it() {
        let (own, other) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let (input, error) = (null(), null());
        send(&other, b"hello\n", [input.as_fd(), file.as_fd(), error.as_fd()]).unwrap();
        let (mut buffer, mut handed) = ([0; 64], vec![]);
        assert_eq!(receive(&own, &mut buffer, &mut handed).unwrap(), 6);
        assert_eq!(&buffer[..6], b"hello\n");
        let [_, output, _] = check(handed).unwrap();
        let flags = nix::fcntl::fcntl(&output, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, nix::libc::FD_CLOEXEC);
        File::from(output).write_all(b"written").unwrap();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "written");
    }

    #[test]
    fn what_comes_without_them_is_read_as_it_is() {
        let (own, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"hello").unwrap();
        let (mut buffer, mut handed) = ([0; 64], vec![]);
        assert_eq!(receive(&own, &mut buffer, &mut handed).unwrap(), 5);
        assert!(handed.is_empty());
        drop(other);
        assert_eq!(receive(&own, &mut buffer, &mut handed).unwrap(), 0);
    }

    #[test]
    fn they_are_three_of_the_kinds_that_programs_have() {
        let said = |handed: Vec<OwnedFd>| check(handed).unwrap_err().to_string();
        let count = "a program needs three descriptors, for its standard input, output and error, and 2 were handed over: use \
                     `lapse run` of the agent's own package";
        assert_eq!(said(vec![null(), null()]), count);
        assert!(said((0..4).map(|_| null()).collect()).contains("and 4 were handed over"));
        let kind = "descriptor 1 is neither a terminal, a file, a pipe nor a local socket: redirect it, such as by </dev/null or \
                    | cat";
        let folder: OwnedFd = File::open("/").unwrap().into();
        assert_eq!(said(vec![null(), folder, null()]), kind);
        let remote: OwnedFd = std::net::TcpListener::bind("127.0.0.1:0").unwrap().into();
        assert_eq!(said(vec![null(), remote, null()]), kind);
        let (local, _other) = UnixStream::pair().unwrap();
        let (pipe, _writer) = io::pipe().unwrap();
        assert!(check(vec![pipe.into(), local.into(), null()]).is_ok());
    }
}
