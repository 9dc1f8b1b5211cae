//! Looks whether the system lets this process open as many sockets as the settings allow.

/// Files that are not sockets: database, logs, terminals.
const OTHER_FILES: u64 = 256;

/// Warns when `ulimit -n` is below what `connections` need. The limit cannot be raised from here without unsafe code.
pub fn warn_when_few(connections: usize) {
    let Some(limit) = std::fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(soft_limit) else {
        return tracing::debug!("the limit of open files is unknown on this system");
    };
    let wanted = connections as u64 + OTHER_FILES;
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "the limit of open files is below http.max_connections; raise it with ulimit -n or LimitNOFILE"
        );
    }
}

/// The soft limit in the text of `/proc/<pid>/limits`.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let text = "Limit      Soft Limit   Hard Limit   Units\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("Max open files   unlimited   unlimited   files"), Some(u64::MAX));
        assert_eq!(soft_limit(""), None);
    }
}
