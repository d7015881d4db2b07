//! The last step of making a pair: sets the remaining options of both ends, and converts them to the stream type.

use std::io;
use std::os::fd::OwnedFd;

use socket2::SockRef;

use crate::attempt::Ends;
use crate::error::{Result, Step};
use crate::options::{Backend, End, Plan};

/// Sets the remaining options and converts both ends, the accepted end first.
pub(crate) fn finish<T>(
    plan: &Plan,
    made_by: Backend,
    (accepted, connected): Ends,
    mut convert: impl FnMut(OwnedFd) -> io::Result<T>,
) -> Result<(T, T)> {
    if made_by == Backend::Epoll {
        // The accepted end is blocking already.
        SockRef::from(&connected).set_nonblocking(false).map_err(Step::SetOption.failed())?;
    }
    for (end, socket) in [(End::Accepted, &accepted), (End::Connected, &connected)] {
        let socket = SockRef::from(socket);
        if let Some(linger) = plan.linger {
            socket.set_linger(linger.0).map_err(Step::SetOption.failed())?;
        }
        if let Some(configure) = &plan.configure {
            configure(end, &socket).map_err(Step::SetOption.failed())?;
        }
    }
    let accepted = convert(accepted).map_err(Step::Convert.failed())?;
    let connected = convert(connected).map_err(Step::Convert.failed())?;
    Ok((accepted, connected))
}
