//! Printing for people and for programs.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

pub use tui::bytes;

/// Whether something that should stand on standard output does not.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Prints a line on standard output. A reader that has gone away is no error; a full disk is.
pub fn line(text: impl AsRef<str>) {
    let written = writeln!(std::io::stdout(), "{}", text.as_ref());
    if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        IS_LOST.store(true, Ordering::Relaxed);
    }
}

/// Whether everything that was printed has arrived.
pub fn has_arrived() -> bool {
    std::io::stdout().flush().is_ok() && !IS_LOST.load(Ordering::Relaxed)
}

/// Prints a line on standard error.
pub fn error_line(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
}

/// Prints a JSON document on standard output.
pub fn document(value: &Value) {
    line(serde_json::to_string_pretty(value).unwrap_or_default());
}

/// How long it took and how fast it was: `12.1 s, 350 MB/s`. Below a second a rate says nothing.
pub fn timing(count: u64, milliseconds: u64) -> String {
    let time = duration(milliseconds);
    match count.saturating_mul(1000).checked_div(milliseconds) {
        Some(bytes_per_second) if milliseconds >= 1000 => format!("{time}, {} MB/s", bytes_per_second / 1_000_000),
        _ => time,
    }
}

/// A duration for people: `4.2 s`, `12 min 3 s`.
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Rows as columns, two spaces between them. Wide characters take two columns.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or_default())
        .collect();
    rows.iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, widest)| format!("{cell}{}", " ".repeat(widest.saturating_sub(width(cell)))));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_with_wide_characters() {
        let rows = [vec!["ラベル".to_owned(), "x".into()], vec!["ab".into(), "y".into()]];
        assert_eq!(table(&rows), ["ラベル  x", "ab      y"]);
    }
}
