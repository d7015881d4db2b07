//! A network namespace of our own: clean counters, all ports, nobody else.

use std::io::{self, Error};

use nix::errno::Errno;
use nix::libc::{IFF_UP, NLM_F_ACK, NLM_F_REQUEST, RTM_NEWLINK};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use std::os::fd::AsRawFd;

/// Moves this process, which must have one thread still, into a network namespace of its own, and brings its `lo` up.
///
/// Who may not do so is let into a user namespace first, where the host has them for everyone.
pub(crate) fn enter() -> io::Result<()> {
    let outcome = match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET),
        outcome => outcome,
    };
    outcome.map_err(|errno| {
        let why =
            "no network namespace of its own can be had: that takes CAP_SYS_ADMIN, or user namespaces for everyone";
        Error::new(Error::from(errno).kind(), format!("{why} ({errno})"))
    })?;
    bring_loopback_up().map_err(|error| Error::new(error.kind(), format!("lo could not be brought up: {error}")))
}

/// `lo` is the first interface of every namespace.
const LOOPBACK: i32 = 1;

/// One message of `rtnetlink(7)`: RTM_NEWLINK for `lo`, with the flag to change and its new value.
fn bring_loopback_up() -> io::Result<()> {
    const HEADER: usize = 16;
    const LENGTH: usize = HEADER + 16;
    const NUMBER: u32 = 1;
    let flags = (NLM_F_REQUEST | NLM_F_ACK) as u16;
    let up = (IFF_UP as u32).to_ne_bytes();
    let mut message = Vec::with_capacity(LENGTH);
    message.extend((LENGTH as u32).to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(NUMBER.to_ne_bytes());
    message.extend([0; 4]); // to the kernel
    message.extend([0; 4]); // of any family, any type
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(up); // its flags
    message.extend(up); // those of them to change

    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(netlink.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // NLMSG_ERROR: a header, then a negative errno, or zero for done.
    match answer[..length].get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(Error::from_raw_os_error(-error)),
        None => Err(Errno::EBADMSG.into()),
    }
}
