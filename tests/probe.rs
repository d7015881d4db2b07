//! The probe finds what `Backend::Auto` does, the cause and the remedy, under every restriction that can be set up here. It
//! never fails, never hangs, is never killed, and leaves neither a process nor a descriptor behind.
#![allow(clippy::unwrap_used)]

mod barred;
mod common;

use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use barred::{ANSWERS, CALLS, answer, under};
use common::{
    alone, alone_in_a_network, alone_with, alone_with_late_handshakes, descriptors, eventually, in_a_thread,
    leave_descriptors, limit_descriptors, on_every_engine, ring_is_there, run, skip,
};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use ringpair::probe::{Cause, Check, Outcome, Verdict};
use ringpair::{Backend, PairOptions, Probe, Step, probe};
use seccompiler::SeccompAction;

/// What `Auto` does without a ring.
const WITHOUT_A_RING: Verdict = if cfg!(feature = "epoll") { Verdict::Epoll } else { Verdict::Nothing };

const THE_THREE_CALLS: &str = "io_uring_setup, io_uring_enter and io_uring_register";

fn the_verdict_is_never_below_an_engine_that_works(options: PairOptions) {
    let factory = options.factory().unwrap();
    factory.pair_blocking::<TcpStream>().unwrap();
    match factory.backend() {
        Backend::Uring => assert_is(&probe(), Verdict::Ring, None),
        _ => assert_ne!(probe().verdict(), Verdict::Nothing),
    }
}
on_every_engine!(the_verdict_is_never_below_an_engine_that_works);

#[test]
fn everything_works_on_an_open_host() {
    if !ring_is_there() {
        return;
    }
    let probe = probe();
    assert_is(&probe, Verdict::Ring, None);
    let tried = [
        Check::Socket,
        Check::SetOption,
        Check::Bind,
        Check::LocalAddress,
        Check::Listen,
        Check::Connect,
        Check::Accept,
        Check::PeerAddress,
        Check::EpollCreate,
        Check::Pair,
        Check::RingSetup,
        Check::RingEnter,
        Check::RingConnect,
        Check::RingAccept,
        Check::RingWrite,
        Check::RingRead,
        Check::RingClose,
        Check::RingCancel,
        Check::FlagsNone,
    ];
    for check in tried {
        assert_eq!(probe.outcome(check), Outcome::Worked, "{check}");
    }
    if let Some(opcodes) = probe.opcodes() {
        assert!(opcodes.accept && opcodes.connect && opcodes.async_cancel && opcodes.close, "{opcodes:?}");
    }
    assert!(probe.to_string().starts_with("verdict        ring: "), "{probe}");
}

#[test]
fn the_host_is_reported() {
    let probe = probe();
    let host = probe.host();
    let read = |path: &str| std::fs::read_to_string(path).unwrap().trim().to_owned();
    assert_eq!(host.kernel_release, Some(read("/proc/sys/kernel/osrelease")));
    assert_eq!(host.loopback_up, Some(true));
    assert_eq!(host.somaxconn, read("/proc/sys/net/core/somaxconn").parse().ok());
    assert_eq!(host.tcp_max_tw_buckets, read("/proc/sys/net/ipv4/tcp_max_tw_buckets").parse().ok());
    assert_eq!(host.tcp_tw_reuse, read("/proc/sys/net/ipv4/tcp_tw_reuse").parse().ok());
    let (first, last) = host.local_ports.unwrap();
    assert_eq!(format!("{first}\t{last}"), read("/proc/sys/net/ipv4/ip_local_port_range"));
    assert!(host.descriptors.unwrap().soft.is_some() && host.locked_memory.is_some());
    assert!(host.open_descriptors.unwrap() >= 3);
    assert!(host.cap_ipc_lock.is_some() && host.cap_sys_admin.is_some() && host.seccomp.is_some());
}

#[test]
fn a_filter_that_refuses_setup_is_named_with_its_errno() {
    alone_with(&[], || {
        if !ring_is_there() {
            return;
        }
        for errno in ANSWERS {
            let probe = under(libc::SYS_io_uring_setup, answer(errno), probe);
            let (check, code) = (Check::RingSetup, errno as i32);
            let is_confined = probe.host().security_label.as_deref().is_some_and(|label| label != "unconfined");
            let cause = match errno {
                // A security module also returns EACCES. If one confines this process, it is the likelier cause.
                Errno::EACCES if is_confined => Cause::SecurityModule { check, errno: code },
                // On kernels without the sysctl, a filter cannot be told from a kernel without io_uring.
                Errno::ENOSYS if probe.host().io_uring_disabled.is_none() => Cause::NotBuiltInOrSeccomp,
                _ => Cause::SeccompErrno { check, errno: code },
            };
            assert_is(&probe, WITHOUT_A_RING, Some(cause));
            assert_eq!(probe.host().seccomp, Some(2));
            assert_eq!(probe.outcome(check), Outcome::Refused { errno: code });
            assert_eq!(probe.outcome(Check::RingConnect), Outcome::Untried);
            if cause == (Cause::SeccompErrno { check, errno: code }) {
                assert_eq!(cause.to_string(), format!("a seccomp filter answers io_uring_setup with {errno:?}"));
                assert_remedy(&probe, THE_THREE_CALLS);
            }
        }
    });
}

#[test]
fn a_ring_that_fails_is_no_reason_to_fall_back() {
    if !ring_is_there() {
        return;
    }
    let check = Check::RingSetup;
    for errno in [Errno::EINVAL, Errno::EBADF, Errno::EFAULT] {
        let probe = under(libc::SYS_io_uring_setup, answer(errno), probe);
        assert_is(&probe, Verdict::Nothing, Some(Cause::Unknown { check, errno: errno as i32 }));
        assert_remedy_without_a_ring(&probe);
    }
    let probe = under(libc::SYS_io_uring_setup, answer(Errno::EMFILE), probe);
    assert_is(&probe, Verdict::Nothing, Some(Cause::Descriptors { errno: Errno::EMFILE as i32 }));
    assert_remedy_without_a_ring(&probe);
}

#[test]
fn a_ring_that_cannot_be_entered_is_nothing() {
    if !ring_is_there() {
        return;
    }
    for errno in [Errno::EPERM, Errno::ENOSYS, Errno::EOPNOTSUPP] {
        let probe = under(libc::SYS_io_uring_enter, answer(errno), probe);
        let (check, errno) = (Check::RingEnter, errno as i32);
        assert_is(&probe, Verdict::Nothing, Some(Cause::SeccompErrno { check, errno }));
        assert_eq!(probe.outcome(Check::RingSetup), Outcome::Worked);
        assert_remedy(&probe, THE_THREE_CALLS);
        assert_remedy_without_a_ring(&probe);
    }
}

#[test]
fn a_filter_that_only_blocks_register_leaves_the_ring() {
    if !ring_is_there() {
        return;
    }
    let probe = under(libc::SYS_io_uring_register, answer(Errno::EPERM), probe);
    assert_is(&probe, Verdict::Ring, None);
    assert_eq!(probe.opcodes(), None);
    assert!(probe.to_string().contains("unknown: io_uring_register is refused: EPERM"), "{probe}");
}

#[test]
fn a_filter_that_kills_is_named_and_does_not_kill() {
    alone_with(&[], || {
        if !ring_is_there() {
            return;
        }
        let checks = [Check::RingSetup, Check::RingRegister, Check::RingEnter];
        for (call, check) in CALLS.into_iter().zip(checks) {
            for action in [SeccompAction::KillProcess, SeccompAction::KillThread, SeccompAction::Trap] {
                let probe = under(call, action, probe);
                // `Auto` checks before it sets up a ring, but not before it uses one.
                let verdict = if check == Check::RingSetup { WITHOUT_A_RING } else { Verdict::Nothing };
                assert_is(&probe, verdict, Some(Cause::SeccompKill { check }));
                assert_eq!(probe.outcome(check), Outcome::Died { signal: Some(libc::SIGSYS) });
                assert_remedy(&probe, THE_THREE_CALLS);
            }
        }
    });
}

const SOCKET_CALLS: [(i64, Check); 6] = [
    (libc::SYS_socket, Check::Socket),
    (libc::SYS_setsockopt, Check::SetOption),
    (libc::SYS_bind, Check::Bind),
    (libc::SYS_getsockname, Check::LocalAddress),
    (libc::SYS_listen, Check::Listen),
    (libc::SYS_getpeername, Check::PeerAddress),
];

#[test]
fn a_filter_that_blocks_sockets_names_the_call_to_allow() {
    let errno = Errno::EPERM as i32;
    for (call, check) in SOCKET_CALLS {
        let refused = under(call, answer(Errno::EPERM), probe);
        assert_is(&refused, Verdict::Nothing, Some(Cause::SeccompErrno { check, errno }));
        assert_remedy(&refused, &format!("Allow {check} "));
        let killed = under(call, SeccompAction::KillProcess, probe);
        assert_is(&killed, Verdict::Nothing, Some(Cause::SeccompKill { check }));
        assert_remedy(&killed, &format!("Allow {check} "));
    }
}

#[cfg(feature = "epoll")]
#[test]
fn blocked_epoll_is_named_if_there_is_no_ring() {
    alone_with(&[], || {
        let probe = in_a_thread(|| {
            common::refuse(libc::SYS_io_uring_setup, Errno::EPERM);
            common::refuse(libc::SYS_epoll_create1, Errno::EPERM);
            probe()
        });
        let cause = Cause::SeccompErrno { check: Check::EpollCreate, errno: Errno::EPERM as i32 };
        assert_is(&probe, Verdict::Nothing, Some(cause));
        assert_remedy(&probe, "Allow epoll_create1 ");
    });
}

#[test]
fn a_refused_pipe_or_fork_does_not_matter() {
    let expected = probe().verdict();
    for call in [libc::SYS_pipe2, libc::SYS_clone] {
        assert_eq!(under(call, answer(Errno::EPERM), probe).verdict(), expected);
    }
}

#[test]
fn without_a_child_a_filter_leaves_it_unknown_to_a_ring() {
    alone_with(&[("RINGPAIR_REQUIRE_URING", "1")], || {
        let probe = without_children(probe);
        assert_is(&probe, Verdict::Unknown, Some(Cause::NoChild { errno: Errno::EAGAIN as i32 }));
        assert_remedy(&probe, "ulimit -u");
    });
}

#[cfg(feature = "epoll")]
#[test]
fn without_a_child_auto_makes_pairs_by_epoll() {
    alone_with(&[], || {
        let backend = || PairOptions::new().factory().map(|factory| factory.backend());
        let (probe, backend) = without_children(|| (probe(), backend()));
        assert_eq!(backend.unwrap(), Backend::Epoll);
        assert_is(&probe, Verdict::Epoll, Some(Cause::NoChild { errno: Errno::EAGAIN as i32 }));
        assert_remedy(&probe, "ulimit -u");
    });
}

/// Runs `act` in a thread that cannot start processes.
fn without_children<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    in_a_thread(|| {
        refuse_children();
        act()
    })
}

/// Makes every way to start a process fail.
fn refuse_children() {
    for call in [libc::SYS_clone, libc::SYS_clone3] {
        common::refuse(call, Errno::EAGAIN);
    }
}

#[test]
fn no_process_and_no_descriptor_is_left() {
    alone_with(&[], || {
        let before = descriptors();
        let kill = || under(libc::SYS_io_uring_setup, SeccompAction::KillProcess, probe);
        let refuse = || under(libc::SYS_io_uring_setup, answer(Errno::EPERM), probe);
        for _ in 0..5 {
            for probe in [probe(), kill(), refuse()] {
                assert_ne!(probe.verdict(), Verdict::Unknown, "{probe}");
                assert_eq!(descriptors(), before);
                assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
            }
        }
    });
}

#[test]
fn many_threads_can_ask_at_once_while_others_allocate() {
    alone(|| {
        let expected = probe().verdict();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        std::hint::black_box((0..50).map(|number| number.to_string()).collect::<Vec<_>>());
                    }
                });
            }
            let ask = || (0..5).for_each(|_| assert_eq!(probe().verdict(), expected));
            let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            let ended: Vec<_> = asking.into_iter().map(|thread| thread.join()).collect();
            over.store(true, Relaxed);
            ended.into_iter().for_each(|ended| ended.unwrap());
        });
        assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
    });
}

#[test]
fn a_host_whose_handshakes_are_late_has_a_ring() {
    alone_with_late_handshakes(|| {
        if ring_is_there() {
            assert_is(&probe(), Verdict::Ring, None);
        }
    });
}

#[test]
fn an_interface_that_is_down_is_named() {
    alone_in_a_network(|| {
        let before = probe();
        assert_eq!(before.host().initial_user_namespace, Some(false));
        run("ip", &["link", "set", "lo", "down"]);
        let probe_ = probe();
        assert_is(&probe_, Verdict::Nothing, Some(Cause::LoopbackDown));
        assert_eq!(probe_.host().loopback_up, Some(false));
        assert_remedy(&probe_, "ip link set lo up");
        run("ip", &["link", "set", "lo", "up"]);
        assert_is(&probe(), before.verdict(), before.cause());
    });
}

#[test]
fn missing_ports_are_named() {
    alone_in_a_network(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap();
        let probe = probe();
        assert_is(&probe, Verdict::Nothing, Some(Cause::NoPorts));
        assert_eq!(probe.host().local_ports, Some((40000, 40000)));
        assert_remedy(&probe, "net.ipv4.ip_local_port_range");
        assert!(!probe.remedy().unwrap().contains("TIME_WAIT"), "{probe}");
    });
}

#[test]
fn reserved_ports_are_named() {
    alone_in_a_network(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40099").unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_local_reserved_ports", "40000-40049,40050-40099").unwrap();
        let probe = probe();
        assert_is(&probe, Verdict::Nothing, Some(Cause::PortsReserved));
        assert_eq!(probe.host().reserved_ports, Some(100));
        assert_remedy(&probe, "net.ipv4.ip_local_reserved_ports");
    });
}

#[test]
fn disabled_ipv6_is_reported_and_prevents_nothing() {
    alone_in_a_network(|| {
        let before = probe();
        if before.verdict() == Verdict::Nothing {
            return skip("no pairs can be made here");
        }
        std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").unwrap();
        let probe = probe();
        assert_is(&probe, before.verdict(), before.cause());
        assert_eq!(probe.outcome(Check::PairOnIpv6), Outcome::Refused { errno: Errno::EADDRNOTAVAIL as i32 });
        assert!(probe.to_string().contains("\n  ::1          no pairs: EADDRNOTAVAIL"), "{probe}");
    });
}

#[test]
fn nat_on_lo_is_named() {
    alone_in_a_network(|| {
        let rule = "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100 ; }; \
            add rule ip nat post oifname lo meta l4proto tcp snat to 127.0.0.9";
        if !Command::new("nft").arg(rule).status().is_ok_and(|status| status.success()) {
            return skip("nft is missing, or the kernel has no NAT");
        }
        let probe = probe();
        assert_is(&probe, Verdict::Nothing, Some(Cause::AddressesRewritten));
        assert_eq!(probe.outcome(Check::PeerAddress), Outcome::Mismatched);
        assert_remedy(&probe, "nft list ruleset");
    });
}

#[test]
fn dropped_packets_delay_the_probe_only_briefly() {
    alone_in_a_network(|| {
        run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
        let begin = Instant::now();
        let probe = probe();
        assert_is(&probe, Verdict::Nothing, Some(Cause::Late { check: Check::Connect }));
        assert_remedy(&probe, "tc qdisc show dev lo");
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    });
}

#[test]
fn a_rule_that_blocks_loopback_is_named_with_its_errno() {
    alone_in_a_network(|| {
        // The rule for local addresses gets a lower priority, so that a rule that blocks them comes first.
        run("ip", &["rule", "add", "pref", "10", "lookup", "local"]);
        run("ip", &["rule", "del", "pref", "0"]);
        run("ip", &["rule", "add", "pref", "5", "to", "127.0.0.0/8", "prohibit"]);
        let probe = probe();
        let cause = Cause::LoopbackRefused { check: Check::Connect, errno: Errno::EACCES as i32 };
        assert_is(&probe, Verdict::Nothing, Some(cause));
        assert_remedy(&probe, "ip rule");
    });
}

#[test]
fn missing_descriptors_are_named_at_every_count() {
    alone(|| {
        let expected = probe().verdict();
        let mut verdicts = Vec::new();
        for spare in 0..16 {
            leave_descriptors(spare);
            let probe = probe();
            limit_descriptors(1000);
            if probe.verdict() != expected {
                let errno = Errno::EMFILE as i32;
                assert_eq!(probe.cause(), Some(Cause::Descriptors { errno }), "{spare} to spare\n{probe}");
                assert_remedy(&probe, "ulimit -n");
            }
            verdicts.push(probe.verdict());
        }
        let mut all = vec![Verdict::Nothing, expected];
        all.dedup();
        verdicts.dedup();
        assert_eq!(verdicts, all);
    });
}

#[test]
fn little_locked_memory_is_enough_until_it_is_used_up() {
    alone(|| {
        setrlimit(Resource::RLIMIT_MEMLOCK, 64 << 10, 64 << 10).unwrap();
        if !become_ordinary(64_123) || !ring_is_there() {
            return;
        }
        let roomy = probe();
        assert_is(&roomy, Verdict::Ring, None);
        let host = roomy.host();
        assert_eq!((host.cap_ipc_lock, host.locked_memory.unwrap().soft), (Some(false), Some(64 << 10)));

        let mut rings = Vec::new();
        let error = loop {
            match PairOptions::new().factory() {
                Ok(factory) if rings.len() < 100 => rings.push(factory),
                Ok(_) => return skip("this kernel does not count the memory of rings"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.step(), error.raw_os_error()), (Step::Ring, Some(Errno::ENOMEM as i32)));
        let full = probe();
        assert_is(&full, Verdict::Nothing, Some(Cause::LockedMemory));
        assert_remedy(&full, "ulimit -l");
        assert_remedy_without_a_ring(&full);
        drop(rings);
        eventually("the memory is given back", || probe().verdict() == Verdict::Ring);
        PairOptions::new().make_pair_blocking::<TcpStream>().unwrap();
    });
}

#[test]
fn without_a_filter_no_process_is_needed() {
    alone(|| {
        if !become_ordinary(64_124) {
            return;
        }
        let expected = probe();
        if expected.host().seccomp != Some(0) {
            return skip("a seccomp filter is in force");
        }
        setrlimit(Resource::RLIMIT_NPROC, 0, 0).unwrap();
        assert_is(&probe(), expected.verdict(), expected.cause());
    });
}

#[test]
fn no_locked_memory_at_all_is_nothing() {
    alone(|| {
        setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
        if !become_ordinary(64_125) || !ring_is_counted() {
            return;
        }
        let probe = probe();
        assert_is(&probe, Verdict::Nothing, Some(Cause::LockedMemory));
        assert_eq!(PairOptions::new().factory().unwrap_err().raw_os_error(), Some(Errno::ENOMEM as i32));
        assert_remedy_without_a_ring(&probe);
    });
}

/// Whether this kernel counts the memory of rings; skips if not.
fn ring_is_counted() -> bool {
    let ring = PairOptions::new().backend(Backend::Uring).factory();
    let refused = ring.err().and_then(|error| error.raw_os_error());
    if refused != Some(Errno::ENOMEM as i32) {
        skip("there is no ring, or this kernel does not count its memory");
    }
    refused == Some(Errno::ENOMEM as i32)
}

#[test]
fn the_environment_decides_for_the_verdict() {
    let epoll = || {
        let cause = if cfg!(feature = "epoll") { Cause::ChosenByEnvironment } else { Cause::InvalidEnvironment };
        assert_is(&probe(), WITHOUT_A_RING, Some(cause));
    };
    alone_with(&[("RINGPAIR_BACKEND", "epoll")], epoll);
}

#[test]
fn a_required_ring_that_is_absent_is_nothing() {
    alone_with(&[("RINGPAIR_REQUIRE_URING", "Yes")], || {
        let probe = under(libc::SYS_io_uring_setup, answer(Errno::EPERM), probe);
        assert_eq!(probe.verdict(), Verdict::Nothing, "{probe}");
        assert_remedy_without_a_ring(&probe);
    });
}

#[test]
fn an_environment_that_is_invalid_is_nothing() {
    alone_with(&[("RINGPAIR_REQUIRE_URING", "maybe")], || {
        let probe = probe();
        assert_is(&probe, Verdict::Nothing, Some(Cause::InvalidEnvironment));
        let text = r#"RINGPAIR_REQUIRE_URING is "maybe"; it takes 1, true, yes, on, 0, false, no or off"#;
        assert_eq!(probe.cause().unwrap().to_string(), text);
        assert_eq!(probe.outcome(Check::Socket), Outcome::Untried);
    });
}

/// Becomes another user, for good. Skips if that is not possible.
fn become_ordinary(id: u32) -> bool {
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    let done = setgroups(&[]).and_then(|()| setresgid(group, group, group)).and_then(|()| setresuid(user, user, user));
    if done.is_err() {
        skip("only root can become another user");
    }
    done.is_ok()
}

fn assert_is(probe: &Probe, verdict: Verdict, cause: Option<Cause>) {
    assert_eq!((probe.verdict(), probe.cause()), (verdict, cause), "\n{probe}");
    assert!(probe.to_string().lines().all(|line| line.chars().count() <= 80), "\n{probe}");
}

fn assert_remedy(probe: &Probe, part: &str) {
    let remedy = probe.cause().unwrap().remedy();
    assert!(remedy.contains(part), "{part} is not in: {remedy}");
}

fn assert_remedy_without_a_ring(probe: &Probe) {
    let way =
        if cfg!(feature = "epoll") { "set RINGPAIR_BACKEND=epoll." } else { "enable ringpair's feature `epoll`." };
    assert!(probe.remedy().unwrap().ends_with(way), "{way} is not in: {probe}");
}
