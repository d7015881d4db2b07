//! Facts about the host: `/proc`, limits, capabilities. A missing fact is unknown, not an error.

use std::fs;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::utsname::uname;

use crate::hazards::descriptors::open_descriptors;
use crate::hazards::ports;

/// Settings and limits of this host that matter to rings and connections. `None` means unknown.
///
/// Everything is read for the calling thread: capabilities, groups, seccomp filters and the network namespace belong to a
/// thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Host {
    /// The kernel's release, for example `6.18.44`: `uname(2)`.
    pub kernel_release: Option<String>,
    /// Whether `/proc/sys` can be read. If so, unknown settings do not exist.
    pub sysctls_readable: bool,
    /// Whether the interface `lo` is up.
    pub loopback_up: Option<bool>,
    /// `kernel.io_uring_disabled` (Linux 6.6): 0: enabled, 1: disabled for all but a group and administrators, 2: disabled.
    pub io_uring_disabled: Option<u32>,
    /// `kernel.io_uring_group` (Linux 6.6): the group that may use io_uring if `io_uring_disabled` is 1; -1 is no group.
    pub io_uring_group: Option<i64>,
    /// Whether this thread is in that group.
    pub in_io_uring_group: Option<bool>,
    /// `Seccomp:` of `/proc/thread-self/status`: 0 for no filter, 1 for strict mode, 2 for a filter.
    pub seccomp: Option<u32>,
    /// The label of this thread in SELinux, AppArmor or another security module.
    pub security_label: Option<String>,
    /// Whether this is the initial user namespace. Capabilities of other namespaces do not count for io_uring.
    pub initial_user_namespace: Option<bool>,
    /// Whether `CAP_SYS_ADMIN` is effective.
    pub cap_sys_admin: Option<bool>,
    /// Whether `CAP_IPC_LOCK` is effective: then locked memory is not limited.
    pub cap_ipc_lock: Option<bool>,
    /// `RLIMIT_MEMLOCK`, in bytes. It counts the rings of all processes of a user.
    pub locked_memory: Option<Limit>,
    /// `RLIMIT_NOFILE`.
    pub descriptors: Option<Limit>,
    /// How many descriptors are open.
    pub open_descriptors: Option<u64>,
    /// `net.ipv4.ip_local_port_range`: the first and the last port that the kernel chooses from.
    pub local_ports: Option<(u16, u16)>,
    /// How many ports of that range are reserved: `net.ipv4.ip_local_reserved_ports`.
    pub reserved_ports: Option<u32>,
    /// How many connections of this network namespace are in TIME_WAIT.
    pub time_wait: Option<u64>,
    /// `net.ipv4.tcp_max_tw_buckets`: how many connections may be in TIME_WAIT.
    pub tcp_max_tw_buckets: Option<u64>,
    /// `net.ipv4.tcp_tw_reuse`: 0 never, 1 always, 2 on loopback.
    pub tcp_tw_reuse: Option<u32>,
    /// `net.core.somaxconn`: how many connections may wait to be accepted.
    pub somaxconn: Option<u32>,
}

/// A resource limit of `getrlimit(2)`; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Limit {
    /// The current limit.
    pub soft: Option<u64>,
    /// The maximum to which this process may raise it.
    pub hard: Option<u64>,
}

impl Host {
    /// Reads everything except `loopback_up`, which takes system calls that a filter may kill for.
    pub(crate) fn read() -> Host {
        let status = Status::read();
        let io_uring_group = sysctl("kernel/io_uring_group").and_then(|text| text.parse().ok());
        Host {
            kernel_release: kernel_release(),
            sysctls_readable: sysctl("kernel/osrelease").is_some(),
            loopback_up: None,
            io_uring_disabled: number("kernel/io_uring_disabled"),
            io_uring_group,
            in_io_uring_group: io_uring_group.and_then(|group| status.is_in_group(group)),
            seccomp: status.seccomp(),
            security_label: of_this_thread("attr/current").and_then(|text| label(&text)),
            initial_user_namespace: of_this_thread("uid_map").map(|map| is_whole(&map)),
            cap_sys_admin: status.has_capability(CAP_SYS_ADMIN),
            cap_ipc_lock: status.has_capability(CAP_IPC_LOCK),
            locked_memory: limit(Resource::RLIMIT_MEMLOCK),
            descriptors: limit(Resource::RLIMIT_NOFILE),
            open_descriptors: open_descriptors().map(|open| open as u64),
            local_ports: ports::range(),
            reserved_ports: ports::reserved(),
            time_wait: ports::in_time_wait(),
            tcp_max_tw_buckets: number("net/ipv4/tcp_max_tw_buckets").map(u64::from),
            tcp_tw_reuse: number("net/ipv4/tcp_tw_reuse"),
            somaxconn: number("net/core/somaxconn"),
        }
    }

    /// Whether a seccomp filter is active.
    pub(super) fn is_filtered(&self) -> bool {
        self.seccomp == Some(2)
    }

    /// Whether the kernel has io_uring, judged by its settings: `kernel.io_uring_disabled` exists since Linux 6.6, and in older
    /// kernels of some distributions.
    pub(super) fn has_io_uring(&self) -> Option<bool> {
        match self.io_uring_disabled {
            Some(_) => Some(true),
            None if self.sysctls_readable && self.is_at_least((6, 6)) => Some(false),
            None => None,
        }
    }

    /// How many ports the kernel may choose from.
    pub(super) fn free_to_choose(&self) -> Option<u64> {
        let (first, last) = self.local_ports?;
        let all = u64::from(last.saturating_sub(first)) + 1;
        Some(all.saturating_sub(self.reserved_ports.unwrap_or(0).into()))
    }

    /// Whether a security module confines this thread, judged by its label.
    pub(super) fn is_confined(&self) -> bool {
        self.security_label.as_deref().is_some_and(|label| label != "unconfined" && label != "kernel")
    }

    /// Whether the kernel is certainly older than this version.
    pub(super) fn is_before(&self, version: (u32, u32)) -> bool {
        self.kernel_release.as_deref().is_some_and(|release| is_before(release, version))
    }

    /// Whether the kernel is certainly of this version or newer.
    fn is_at_least(&self, version: (u32, u32)) -> bool {
        self.kernel_release.as_deref().and_then(version_of).is_some_and(|release| release >= version)
    }

    /// Whether this thread has the rights of an administrator of the host.
    pub(super) fn is_administrator(&self) -> bool {
        self.cap_sys_admin == Some(true) && self.initial_user_namespace != Some(false)
    }

    /// Whether locked memory is counted and limited for this thread.
    pub(super) fn has_limited_memory(&self) -> bool {
        let locks_freely = self.cap_ipc_lock == Some(true) && self.initial_user_namespace != Some(false);
        !locks_freely && self.locked_memory.is_some_and(|limit| limit.soft.is_some())
    }
}

/// Bit numbers in `CapEff`: `capabilities(7)`.
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;

/// `/proc/thread-self/status`, or that of a process.
pub(super) struct Status(String);

impl Status {
    /// Reads the status of the calling thread.
    pub(super) fn read() -> Status {
        Status(of_this_thread("status").unwrap_or_default())
    }

    /// Reads the status of the parent process. `None` if the parent is in another pid namespace.
    pub(super) fn of_the_parent(&self) -> Option<Status> {
        // Not by getppid(2): this `/proc` may be that of another pid namespace.
        let parent = self.field("PPid")?;
        fs::read_to_string(format!("/proc/{parent}/status")).ok().map(Status)
    }

    #[cfg(test)]
    pub(super) fn from_text(text: String) -> Status {
        Status(text)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let named = self.0.lines().filter_map(|line| line.split_once(':'));
        named.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value.trim())
    }

    fn seccomp(&self) -> Option<u32> {
        self.field("Seccomp")?.parse().ok()
    }

    /// Returns the number of seccomp filters (Linux 5.9).
    pub(super) fn seccomp_filters(&self) -> Option<u32> {
        self.field("Seccomp_filters")?.parse().ok()
    }

    fn has_capability(&self, number: u32) -> Option<bool> {
        let effective = u64::from_str_radix(self.field("CapEff")?, 16).ok()?;
        Some(effective & 1 << number != 0)
    }

    /// The kernel checks the file-system group, the last of the four, and the supplementary groups.
    fn is_in_group(&self, group: i64) -> Option<bool> {
        let own = self.field("Gid")?.split_whitespace().nth(3)?;
        let others = self.field("Groups")?.split_whitespace();
        Some(group >= 0 && others.chain([own]).any(|found| found.parse() == Ok(group)))
    }
}

/// Reads a file of `/proc` about the calling thread; before Linux 3.17, about the process.
fn of_this_thread(name: &str) -> Option<String> {
    let read = |whose: &str| fs::read_to_string(format!("/proc/{whose}/{name}"));
    read("thread-self").or_else(|_| read("self")).ok()
}

fn sysctl(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned())
}

fn number(name: &str) -> Option<u32> {
    sysctl(name)?.parse().ok()
}

fn limit(resource: Resource) -> Option<Limit> {
    let (soft, hard) = getrlimit(resource).ok()?;
    let finite = |value| (value != RLIM_INFINITY).then_some(value);
    Some(Limit { soft: finite(soft), hard: finite(hard) })
}

/// Reads the interface of this thread's network namespace. `/sys/class/net` may belong to another one.
pub(super) fn is_loopback_up() -> Option<bool> {
    let mut interfaces = getifaddrs().ok()?;
    let flags = interfaces.find(|interface| interface.interface_name == "lo")?.flags;
    Some(flags.contains(InterfaceFlags::IFF_UP))
}

/// Makes a label printable: the kernel ends some with a zero byte or a line feed.
fn label(text: &str) -> Option<String> {
    let label: String = text.chars().filter(|letter| !letter.is_control()).collect();
    (!label.is_empty()).then_some(label)
}

/// Whether a `uid_map` maps every user to itself.
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether this kernel is certainly older than this version.
#[cfg(feature = "measure")]
pub(crate) fn is_kernel_before(version: (u32, u32)) -> bool {
    kernel_release().is_some_and(|release| is_before(&release, version))
}

fn kernel_release() -> Option<String> {
    uname().ok().and_then(|names| Some(names.release().to_str()?.to_owned()))
}

fn is_before(release: &str, version: (u32, u32)) -> bool {
    version_of(release).is_some_and(|release| release < version)
}

fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tsleep\nGid:\t7\t8\t8\t9\nGroups:\t20 21 \nCapEff:\t0000000000204000\nSeccomp:\t2\n\
        Seccomp_filters:\t3\n";

    #[test]
    fn a_status_is_read_field_by_field() {
        let status = Status(STATUS.to_owned());
        assert_eq!((status.seccomp(), status.seccomp_filters()), (Some(2), Some(3)));
        assert_eq!(status.has_capability(CAP_IPC_LOCK), Some(true));
        assert_eq!(status.has_capability(CAP_SYS_ADMIN), Some(true));
        assert_eq!(status.has_capability(0), Some(false));
        let groups = [7, 8, 9, 20, 21, -1, 2].map(|group| status.is_in_group(group));
        assert_eq!(groups, [false, false, true, true, true, false, false].map(Some));
    }

    #[test]
    fn a_missing_or_malformed_status_is_unknown() {
        for text in ["", "Seccomp\nCapEff: x\nGid: 1\nGroups:", "Seccomp: \nCapEff:\nGid:\t1\t1\t1\t1\n"] {
            let status = Status(text.to_owned());
            assert_eq!((status.seccomp(), status.has_capability(14), status.is_in_group(1)), (None, None, None));
        }
    }

    #[test]
    fn releases_are_compared_by_number() {
        for (release, is_before) in [
            ("5.0.21", true),
            ("4.18.0-553.el8.x86_64", true),
            ("5.1", false),
            ("5.10.0-rc1", false),
            ("6.18.44-vm", false),
            ("odd", false),
            ("", false),
        ] {
            let host = Host { kernel_release: Some(release.to_owned()), ..Host::default() };
            assert_eq!(host.is_before((5, 1)), is_before, "{release}");
        }
        assert!(!Host::default().is_before((5, 1)));
    }

    #[test]
    fn settings_show_whether_the_kernel_has_io_uring() {
        let host = |release: &str, sysctls_readable, io_uring_disabled| Host {
            kernel_release: Some(release.to_owned()),
            sysctls_readable,
            io_uring_disabled,
            ..Host::default()
        };
        for (host, expected) in [
            (host("5.14.0-427.el9", true, Some(2)), Some(true)),
            (host("6.5.13", true, None), None),
            (host("6.6.0", true, None), Some(false)),
            (host("6.18.44", true, None), Some(false)),
            (host("6.18.44", false, None), None),
            (Host::default(), None),
        ] {
            assert_eq!(host.has_io_uring(), expected, "{host:?}");
        }
    }

    #[test]
    fn reserved_ports_are_not_free_to_choose() {
        let host = |local_ports, reserved_ports| Host { local_ports, reserved_ports, ..Host::default() };
        assert_eq!(host(Some((40_000, 40_099)), Some(30)).free_to_choose(), Some(70));
        assert_eq!(host(Some((40_000, 40_000)), None).free_to_choose(), Some(1));
        assert_eq!(host(Some((40_000, 40_000)), Some(1)).free_to_choose(), Some(0));
        assert_eq!(host(None, Some(1)).free_to_choose(), None);
    }

    #[test]
    fn only_the_initial_user_namespace_maps_every_user_to_itself() {
        assert!(is_whole("         0          0 4294967295\n"));
        assert!(!is_whole("         0       1000          1\n"));
    }

    #[test]
    fn a_label_is_printable_and_shows_confinement() {
        assert_eq!(label("docker-default (enforce)\n"), Some("docker-default (enforce)".to_owned()));
        assert_eq!(label("\0"), None);
        for (label, confined) in [(None, false), (Some("unconfined"), false), (Some("docker-default (enforce)"), true)]
        {
            let host = Host { security_label: label.map(str::to_owned), ..Host::default() };
            assert_eq!(host.is_confined(), confined, "{label:?}");
        }
    }
}
