//! The fuzz target of the socket: whatever somebody says, it is a request that is known whole, or refused in words.

use lapse_fuzz::fuzz;

use super::protocol::Request;

fn check(line: &[u8]) {
    match Request::read(line) {
        Ok(request) => {
            let again = request.line().unwrap();
            assert_eq!(Request::read(again.as_bytes()), Ok(request));
        }
        Err(error) => assert!(error.to_string().len() < line.len() + 1024),
    }
}

#[test]
fn request() {
    fuzz!("request", check);
}
