//! A read brings less than was asked for, a write takes less than was offered: the code under test must go on.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use ringpair::mocket::{Mocket, MocketOptions};

/// The code under test: sends a message behind its length, and reads one.
fn exchange(stream: &mut (impl Read + Write), message: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(&u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes())?;
    stream.write_all(message)?; // `write` would send one byte of it here
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Both ends are sockets; what goes through this one is cut.
fn exchanged(options: MocketOptions) -> (Mocket<TcpStream>, Vec<u8>) {
    let (mut mocket, mut peer) = options.make_pair_blocking::<TcpStream>().unwrap();
    peer.write_all(b"\0\0\0\x04pong").unwrap();
    let answer = exchange(&mut mocket, b"ping").unwrap();
    let mut asked = [0; 8];
    peer.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"\0\0\0\x04ping");
    (mocket, answer)
}

#[test]
fn a_message_arrives_whole_by_single_bytes() {
    let (mut mocket, answer) = exchanged(MocketOptions::new().max_read_size(1).max_write_size(1));
    assert_eq!(answer, b"pong");
    mocket.close().unwrap();
}

#[test]
fn a_message_arrives_whole_however_it_is_cut() {
    for seed in 0..100 {
        let (mut mocket, answer) = exchanged(MocketOptions::new().chunk_seed(seed)); // the seed that fails fails again
        assert_eq!(answer, b"pong", "seed {seed}");
        mocket.close().unwrap();
    }
}
