//! What a bench's program says of itself.

#![allow(dead_code, reason = "each program uses what it needs")]

use std::{fs, io};

/// The most memory this process ever had in use.
pub fn kilobytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse().unwrap_or(0))
}
