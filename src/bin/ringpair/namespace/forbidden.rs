//! What keeps an ordinary user from making namespaces, as far as it can be known.

use std::fs;

use nix::errno::Errno;

/// What the host says of namespaces; `None` if it does not.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    /// `kernel.unprivileged_userns_clone`, of Debian and its kin.
    users_may_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu.
    apparmor_restricts: Option<u64>,
    max_user_namespaces: Option<u64>,
    max_net_namespaces: Option<u64>,
    /// The mode of seccomp: 2 if a filter is active.
    seccomp: Option<u64>,
}

/// Names what has refused a user namespace, for a sentence: "which …".
pub(super) fn what_forbids(errno: Errno) -> &'static str {
    Limits::read().blamed_for(errno)
}

impl Limits {
    fn read() -> Limits {
        let sysctl = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        Limits {
            users_may_clone: sysctl("kernel/unprivileged_userns_clone"),
            apparmor_restricts: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
            max_user_namespaces: sysctl("user/max_user_namespaces"),
            max_net_namespaces: sysctl("user/max_net_namespaces"),
            seccomp: seccomp.and_then(|mode| mode.trim().parse().ok()),
        }
    }

    /// The kernel says EPERM for most of them; what is certain comes first.
    fn blamed_for(self, errno: Errno) -> &'static str {
        match errno {
            Errno::ENOSPC if self.max_user_namespaces == Some(0) => "which user.max_user_namespaces = 0 forbids",
            Errno::ENOSPC if self.max_net_namespaces == Some(0) => "which user.max_net_namespaces = 0 forbids",
            Errno::ENOSPC => "and there are as many as user.max_user_namespaces or max_net_namespaces allows",
            Errno::EPERM if self.users_may_clone == Some(0) => "which kernel.unprivileged_userns_clone = 0 forbids",
            Errno::EPERM if self.apparmor_restricts == Some(1) => {
                "which AppArmor forbids: kernel.apparmor_restrict_unprivileged_userns = 1"
            }
            _ if self.seccomp == Some(2) => "which a seccomp filter may forbid: one is active",
            Errno::EINVAL | Errno::ENOSYS => "which this kernel does not have",
            _ => "which this host forbids",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_certain_is_blamed_first() {
        let none = Limits::default();
        let filtered = Limits { seccomp: Some(2), ..none };
        let apparmor = Limits { apparmor_restricts: Some(1), ..filtered };
        let sysctl = Limits { users_may_clone: Some(0), ..apparmor };
        let full = Limits { max_user_namespaces: Some(0), ..sysctl };
        for (limits, errno, blamed) in [
            (none, Errno::EPERM, "which this host forbids"),
            (none, Errno::EINVAL, "which this kernel does not have"),
            (Limits { seccomp: Some(0), users_may_clone: Some(1), ..none }, Errno::EPERM, "which this host forbids"),
            (filtered, Errno::EPERM, "which a seccomp filter may forbid: one is active"),
            (filtered, Errno::ENOSYS, "which a seccomp filter may forbid: one is active"),
            (apparmor, Errno::EPERM, "which AppArmor forbids: kernel.apparmor_restrict_unprivileged_userns = 1"),
            (sysctl, Errno::EPERM, "which kernel.unprivileged_userns_clone = 0 forbids"),
            (full, Errno::EPERM, "which kernel.unprivileged_userns_clone = 0 forbids"),
            (full, Errno::ENOSPC, "which user.max_user_namespaces = 0 forbids"),
            (
                Limits { max_net_namespaces: Some(0), ..none },
                Errno::ENOSPC,
                "which user.max_net_namespaces = 0 forbids",
            ),
            (sysctl, Errno::ENOSPC, "and there are as many as user.max_user_namespaces or max_net_namespaces allows"),
        ] {
            assert_eq!(limits.blamed_for(errno), blamed, "{limits:?} {errno}");
        }
    }
}
