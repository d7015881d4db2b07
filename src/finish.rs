//! The last step on the way to a pair: options of both ends, and the stream that the caller asked for.

use socket2::SockRef;

use crate::attempt::Ends;
use crate::error::{Result, Step};
use crate::options::{Backend, End, Plan};
use crate::streams::PairSocket;

/// Sets what remains to be set, and turns both ends into what the caller asked for.
pub(crate) fn finish<S: PairSocket>(plan: &Plan, made_by: Backend, (accepted, connected): Ends) -> Result<(S, S)> {
    if made_by == Backend::Epoll {
        // The accepted end is blocking already.
        SockRef::from(&connected).set_nonblocking(false).map_err(Step::SetOption.failed())?;
    }
    for (end, socket) in [(End::Accepted, &accepted), (End::Connected, &connected)] {
        let socket = SockRef::from(socket);
        if let Some(softer) = plan.linger {
            socket.set_linger(softer.0).map_err(Step::SetOption.failed())?;
        }
        if let Some(configure) = &plan.configure {
            configure(end, &socket).map_err(Step::SetOption.failed())?;
        }
    }
    let accepted = S::from_fd(accepted).map_err(Step::Convert.failed())?;
    let connected = S::from_fd(connected).map_err(Step::Convert.failed())?;
    Ok((accepted, connected))
}
