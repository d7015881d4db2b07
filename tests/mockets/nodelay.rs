//! Short transfers through a socket do not wait for the acknowledgement of the last one.

use std::net::TcpStream;
use std::num::NonZeroUsize;

use ringpair::PairOptions;
use ringpair::mocket::{MocketOptions, Script};

use crate::faces::a_pair_can_be_had;

fn nodelay(options: &MocketOptions) -> [bool; 2] {
    let (mocket, peer) = options.make_pair_blocking::<TcpStream>().unwrap();
    [mocket.get_ref().unwrap().nodelay().unwrap(), peer.nodelay().unwrap()]
}

#[test]
fn limited_sizes_turn_nagles_algorithm_off() {
    if !a_pair_can_be_had() {
        return;
    }
    let options = MocketOptions::new;
    for limited in [
        options().max_read_size(1),
        options().max_write_size(1),
        options().chunk_seed(1),
        options().max_write_size(1).pair(PairOptions::new().nodelay(false)),
        options().script(Script::new().max_read_size(NonZeroUsize::MIN)),
        options().script(Script::new().max_write_size(NonZeroUsize::MIN)),
        options().script(Script::new().chunk_seed(1)),
    ] {
        assert_eq!(nodelay(&limited), [true; 2], "{limited:?}");
    }
    assert_eq!(nodelay(&options()), [false; 2]);
    assert_eq!(nodelay(&options().pair(PairOptions::new().nodelay(true))), [true; 2]);
}

/// Each turn by single bytes would wait 40 ms for an acknowledgement, and the checks have thousands.
#[cfg(feature = "tokio")]
#[test]
fn short_transfers_pass_every_check() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let conformance = ringpair::conformance::Conformance::new().transfer(1 << 10);
    let small = PairOptions::new().linger(ringpair::Linger::Graceful).send_buffer_size(1).recv_buffer_size(1); // as small as can be
    let options = MocketOptions::new().max_read_size(1).max_write_size(1).pair(small);
    let make_pair = async || Ok(options.make_pair::<tokio::net::TcpStream>().await?);
    runtime.block_on(conformance.check_stream(make_pair)).assert();
}

#[cfg(feature = "tokio")]
#[test]
fn limited_sizes_do_so_in_async_calls_too() {
    crate::faces::tokio_runtime().block_on(async {
        let options = MocketOptions::new().max_write_size(1);
        let (mocket, peer) = options.make_pair::<tokio::net::TcpStream>().await.unwrap();
        assert!(mocket.get_ref().unwrap().nodelay().unwrap() && peer.nodelay().unwrap());
    });
}
