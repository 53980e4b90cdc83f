//! What the kernel says of this process. Elsewhere than on Linux it says nothing here.

use std::fs;

/// What is known of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Resident memory in bytes.
    pub(super) resident: Option<u64>,
    /// Processor time used, in seconds.
    pub(super) cpu: Option<f64>,
    /// Open file descriptors.
    pub(super) fds: Option<u64>,
}

pub(super) fn look() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // One of them is the folder that is being read.
    let fds = fs::read_dir("/proc/self/fd").ok().map(|it| (it.count() as u64).saturating_sub(1));
    Process { resident: resident(&status), cpu: cpu(&stat), fds }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// Linux counts in hundredths of a second for everyone, whatever its own tick is.
fn cpu(stat: &str) -> Option<f64> {
    // The program's name comes before it, in parentheses, and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let field = |at: usize| rest.split_whitespace().nth(at)?.parse::<u64>().ok();
    Some((field(11)? + field(12)?) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 9 8 7";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(resident("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!((cpu(""), resident("")), (None, None));
    }
}
