//! Which of the opcodes that matter to pairs a ring supports.

use io_uring::{Probe, opcode};

macro_rules! opcodes {
    ($($(#[$doc:meta])* $field:ident: $name:literal = $code:path,)+) => {
        /// Which opcodes the ring supports, from `IORING_REGISTER_PROBE` (Linux 5.6).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "cli", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct Opcodes {
            $($(#[$doc])* pub $field: bool,)+
        }

        impl Opcodes {
            pub(super) fn known_to(probe: &Probe) -> Opcodes {
                Opcodes { $($field: probe.is_supported($code),)+ }
            }

            /// Each opcode with its name after `IORING_OP_`.
            pub(super) fn named(self) -> impl Iterator<Item = (&'static str, bool)> {
                [$(($name, self.$field)),+].into_iter()
            }

            pub(super) fn to_bits(self) -> i32 {
                self.named().enumerate().fold(0, |bits, (place, (_, known))| bits | i32::from(known) << place)
            }

            pub(super) fn from_bits(bits: i32) -> Opcodes {
                let mut place = 0..;
                let mut next = || place.next().is_some_and(|place: u32| bits & 1 << place != 0);
                Opcodes { $($field: next(),)+ }
            }
        }
    };
}

opcodes! {
    /// Used by the ring engine.
    accept: "ACCEPT" = opcode::Accept::CODE,
    /// Used by the ring engine.
    connect: "CONNECT" = opcode::Connect::CODE,
    /// Used by the ring engine.
    async_cancel: "ASYNC_CANCEL" = opcode::AsyncCancel::CODE,
    /// Used by the streams of tokio-uring, and to measure what closing costs.
    close: "CLOSE" = opcode::Close::CODE,
    /// Used by the streams of tokio-uring.
    read: "READ" = opcode::Read::CODE,
    /// Used by the streams of tokio-uring.
    write: "WRITE" = opcode::Write::CODE,
    /// Used by the ring engine to open sockets, if supported.
    socket: "SOCKET" = opcode::Socket::CODE,
    /// Not used by ringpair.
    send: "SEND" = opcode::Send::CODE,
    /// Used to measure what closing costs.
    recv: "RECV" = opcode::Recv::CODE,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_of_opcodes_survives_conversion_to_bits() {
        for bits in 0..1 << 9 {
            assert_eq!(Opcodes::from_bits(bits).to_bits(), bits);
        }
        let first = Opcodes::from_bits(1);
        assert!(first.accept && !first.connect);
    }
}
