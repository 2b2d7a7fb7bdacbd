//! What the operating system says of this process, under Prometheus's usual names. Read when asked for.

use std::fmt::Write;
use std::fs;

/// A value of the process.
struct Row {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn() -> Option<f64>,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "process_cpu_seconds_total", kind: "counter", help: "User and system time spent.", value: cpu_seconds },
    Row { name: "process_resident_memory_bytes", kind: "gauge", help: "Resident memory.", value: resident_bytes },
    Row { name: "process_open_fds", kind: "gauge", help: "Open file descriptors.", value: open_descriptors },
    Row { name: "process_threads", kind: "gauge", help: "Threads.", value: threads },
];

/// Appends the rows that can be read; a system without `/proc` has none.
pub(crate) fn render(into: &mut String) {
    for Row { name, kind, help, value } in ROWS {
        if let Some(value) = value() {
            let _ = writeln!(into, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    }
}

/// The rows as they stand in the documentation.
#[cfg(test)]
pub(super) fn lines() -> impl Iterator<Item = super::page::Line> {
    ROWS.iter().map(|row| super::page::Line { name: row.name, kind: row.kind, labels: &[], help: row.help })
}

/// Fields of `/proc/self/stat` behind the command's name, which may hold anything.
fn stat(field: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(field)?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    let ticks = stat(11)? + stat(12)?;
    Some(ticks / rustix::param::clock_ticks_per_second() as f64)
}

fn resident_bytes() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as f64)
}

fn open_descriptors() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

fn threads() -> Option<f64> {
    stat(17)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory_and_threads() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000.0));
        assert!(threads().is_some_and(|threads| threads >= 1.0));
        let mut text = String::new();
        render(&mut text);
        assert_eq!(text.matches("# TYPE").count(), ROWS.len());
    }
}
