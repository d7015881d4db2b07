//! Checks by making a pair as callers do: this shows what [`Backend::Auto`] does.

use std::io::ErrorKind;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;

use super::check::Check;
use super::child::Log;
use super::loopback::PATIENCE;
use super::record::errno_of;
use crate::error::{Error, Result, Step};
use crate::options::{Backend, PairOptions};

/// Makes one pair and closes it.
pub(super) fn try_pair(log: &Log, check: Check) {
    log.begun(check);
    let made = make(&options_of(check));
    if check == Check::Pair {
        match &made {
            Ok(backend) => log.made(*backend),
            Err(error) => log.failed(error),
        }
    }
    match &made {
        Ok(_) => log.ended(check, 0),
        Err(error) if is_redirected(error) => log.mismatched(check),
        Err(error) => log.ended(check, errno_of(error.cause())),
    }
}

fn options_of(check: Check) -> PairOptions {
    let options = PairOptions::new().timeout(PATIENCE);
    match check {
        Check::PairOnIpv6 => options.address(Ipv6Addr::LOCALHOST.into()),
        Check::PairByEpoll => options.backend(Backend::Epoll),
        _ => options,
    }
}

fn make(options: &PairOptions) -> Result<Backend> {
    let factory = options.factory()?;
    factory.pair_blocking::<OwnedFd>()?;
    Ok(factory.backend())
}

fn is_redirected(error: &Error) -> bool {
    error.step() == Step::Verify && error.raw_os_error().is_none() && error.kind() == ErrorKind::Other
}
