//! Room for a runtime of tokio-uring, made sure of beforehand: where its ring cannot be set up, `Runtime::new` (0.5.0) fails
//! and leaves open for good what it has opened until then.

use std::io;
use std::os::unix::net::UnixDatagram;

use crate::hub::Hub;

/// What `with_pair` opens once the thread has its ring: an epoll, a duplicate of it, an eventfd and a ring for the runtime, then
/// a listener and two ends.
const DESCRIPTORS: usize = 7;

/// Fails as the set-up of a runtime would, and leaves nothing behind. What another thread takes in between is missing all the same.
pub(crate) fn refuse_without_room(hub: &Hub) -> io::Result<()> {
    let first = UnixDatagram::unbound()?;
    (1..DESCRIPTORS).map(|_| first.try_clone()).collect::<io::Result<Vec<_>>>()?;
    hub.with(|state| state.refuse_without_room_for_a_ring())
}
