//! Tables that fit the terminal they are shown on.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use rustix::termios::tcgetwinsize;

/// Spaces between columns.
const COLUMN_GAP: u16 = 2;

/// A table without lines, which can be read by people and cut by `awk`.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(|name| name.to_uppercase()));
    // Columns stand apart by spaces behind them, so that lines begin at the margin.
    for column in table.column_iter_mut() {
        column.set_padding((0, COLUMN_GAP));
    }
    if let Some(width) = terminal_width() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// Prints a table; one without rows is not worth its header.
pub(crate) fn print(table: &Table, none: &str) -> io::Result<()> {
    if table.row_count() == 0 {
        eprintln!("{none}");
        return Ok(());
    }
    let mut output = io::stdout().lock();
    for line in table.lines() {
        writeln!(output, "{}", line.trim_end())?;
    }
    output.flush()
}

/// Prints a value as JSON, indented.
pub(crate) fn print_json(value: &serde_json::Value) -> io::Result<()> {
    let mut output = io::stdout().lock();
    serde_json::to_writer_pretty(&mut output, value)?;
    writeln!(output)?;
    output.flush()
}

/// Columns of the terminal; none if the output goes elsewhere, and then nothing is wrapped.
fn terminal_width() -> Option<u16> {
    let output = io::stdout();
    if !output.is_terminal() {
        return None;
    }
    tcgetwinsize(&output).ok().map(|size| size.ws_col).filter(|columns| *columns > 0)
}
