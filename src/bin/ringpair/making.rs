//! Options of making pairs, for every measuring command.

use std::net::{IpAddr, Ipv4Addr};

use ringpair::Backend;

use crate::values;

// No doc comment: clap would make it the help of the command.
#[derive(clap::Args)]
pub(crate) struct Making {
    /// Address of both ends: any of 127.0.0.0/8, or ::1
    #[arg(long, value_name = "IP", default_value_t = Ipv4Addr::LOCALHOST.into(), value_parser = values::loopback)]
    pub(crate) address: IpAddr,

    /// Engine that makes the pairs
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    backend: Engine,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Engine {
    /// io_uring, or epoll if there is no ring
    Auto,
    /// io_uring; fails if there is no ring
    Uring,
    /// epoll and plain system calls
    Epoll,
}

impl Making {
    pub(crate) fn backend(&self) -> Backend {
        match self.backend {
            Engine::Auto => Backend::Auto,
            Engine::Uring => Backend::Uring,
            Engine::Epoll => Backend::Epoll,
        }
    }
}
