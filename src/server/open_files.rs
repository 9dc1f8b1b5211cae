//! Fits the number of connections to what the system lets this process open.

/// Files that are not connections: database, logs, listeners, mail.
const OTHER_FILES: u64 = 256;

/// As many of `wanted` connections as the limit of open files allows, at least 1. The limit itself cannot be raised
/// from here without unsafe code.
pub fn affordable(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits");
    let Some(limit) = limits.ok().as_deref().and_then(soft_limit) else {
        tracing::debug!("the limit of open files is unknown on this system");
        return wanted;
    };
    let left = usize::try_from(limit.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1);
    if left < wanted {
        tracing::info!(
            limit,
            connections = left,
            "the limit of open files allows fewer connections than http.max_connections; ulimit -n or LimitNOFILE raises it"
        );
    }
    wanted.min(left)
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
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  524288  files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("Max open files   unlimited   unlimited   files"), Some(u64::MAX));
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn no_more_than_wanted_are_allowed() {
        assert_eq!(affordable(1), 1);
        assert!(affordable(usize::MAX) >= 1);
    }
}
