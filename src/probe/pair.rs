//! A pair made as callers make it: what [`Backend::Auto`] does here is found out by doing it.

use std::io::ErrorKind;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;

use super::attempt::Attempt;
use super::child::Report;
use super::loopback::PATIENCE;
use super::record::errno_of;
use crate::error::{Error, Result, Step};
use crate::options::{Backend, PairOptions};

/// Makes one pair and closes it.
pub(super) fn try_pair(report: &Report, attempt: Attempt) {
    report.begun(attempt);
    let made = make(&options_of(attempt));
    if attempt == Attempt::Pair {
        match &made {
            Ok(backend) => report.made(*backend),
            Err(error) => report.failed(error),
        }
    }
    match &made {
        Ok(_) => report.ended(attempt, 0),
        Err(error) if leads_elsewhere(error) => report.mismatched(attempt),
        Err(error) => report.ended(attempt, errno_of(error.cause())),
    }
}

fn options_of(attempt: Attempt) -> PairOptions {
    let options = PairOptions::new().timeout(PATIENCE);
    match attempt {
        Attempt::PairOnIpv6 => options.address(Ipv6Addr::LOCALHOST.into()),
        Attempt::PairByEpoll => options.backend(Backend::Epoll),
        _ => options,
    }
}

fn make(options: &PairOptions) -> Result<Backend> {
    let factory = options.factory()?;
    factory.pair_blocking::<OwnedFd>()?;
    Ok(factory.backend())
}

fn leads_elsewhere(error: &Error) -> bool {
    error.step() == Step::Verify && error.raw_os_error().is_none() && error.kind() == ErrorKind::Other
}
