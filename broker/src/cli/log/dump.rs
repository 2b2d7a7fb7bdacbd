//! `strandline log dump`: files as tables, or as a JSON object a line. Nothing is changed, and what is damaged is shown as
//! far as it can be read.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use strandline_log::disk::{DiskError, Entry, FilePath, Files};
use strandline_log::dump::{Batch, Batches, Shown, contents, records, shown};
use strandline_log::scan::Stop;

use super::rows::{self, Row};
use crate::cli::Failure;
use crate::cli::connect::{self, Format};
use crate::cli::table;

/// Rows of one table: enough to be one on a screen, few enough to hold in memory.
const ROWS_MAX: usize = 1000;

/// The first records of the metadata log, written when a directory is formatted.
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// The directory of the metadata log, whose records we can read.
const METADATA_DIRECTORY: &str = "__cluster_metadata-0";

#[derive(Debug, Args)]
pub(crate) struct DumpArguments {
    /// Files of a log directory
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show the records of batches instead of the batches
    #[arg(short, long)]
    records: bool,
    #[command(flatten)]
    shown: connect::Shown,
}

impl DumpArguments {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut damaged = Vec::new();
        for path in &self.files {
            let mut printer = Printer::new(path, self.shown.format);
            if self.dump(path, &mut printer)? == Health::Damaged {
                damaged.push(path.clone());
            }
            printer.print()?;
        }
        match damaged.into_iter().next() {
            Some(path) => Err(Failure::Damaged { path }),
            None => Ok(()),
        }
    }

    fn dump(&self, path: &Path, printer: &mut Printer<'_>) -> Result<Health, Failure> {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let shown = if name == BOOTSTRAP { Some(Shown::Batches) } else { shown(name) };
        match shown {
            None => Err(Failure::UnknownFile { path: path.to_owned() }),
            Some(Shown::Batches) => self.dump_batches(path, printer),
            Some(Shown::Whole) => {
                let bytes = fs::read(path).map_err(|error| Failure::File { path: path.to_owned(), error })?;
                match contents(name, &Bytes::from(bytes)) {
                    Ok(contents) => {
                        contents.iter().flat_map(rows::of_contents).try_for_each(|row| printer.add(row))?;
                        if let spare @ 1.. = contents.iter().map(rows::spare).sum::<usize>() {
                            eprintln!("{}: {spare} entries that are allocated ahead, or make no sense", path.display());
                        }
                        Ok(Health::Whole)
                    }
                    Err(error) => {
                        eprintln!("{}: {error}", path.display());
                        Ok(Health::Damaged)
                    }
                }
            }
        }
    }

    fn dump_batches(&self, path: &Path, printer: &mut Printer<'_>) -> Result<Health, Failure> {
        let failed = |error| Failure::File { path: path.to_owned(), error };
        let file = OneFile(File::open(path).map_err(failed)?);
        let bytes = file.0.metadata().map_err(failed)?.len();
        let name = FilePath::top(&path.display().to_string());
        let mut batches = Batches::new(&file, &name, bytes);
        let mut health = Health::Whole;
        for batch in batches.by_ref() {
            let batch = batch.map_err(|error| failed(io::Error::other(error)))?;
            if !batch.checksum_holds {
                health = Health::Damaged;
            }
            if self.records {
                add_records(path, &batch, printer, &mut health)?;
            } else {
                printer.add(rows::of_batch(&batch))?;
            }
        }
        match batches.end() {
            None | Some((_, Stop::End)) => {}
            Some((position, stop)) => {
                printer.print()?;
                eprintln!("{}: batches end at {position} of {bytes} bytes: {stop}", path.display());
                // A segment that is written to may end in zeros, or in a batch that is not complete yet.
                if !matches!(stop, Stop::Zeros | Stop::Torn) {
                    health = Health::Damaged;
                }
            }
        }
        Ok(health)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Whole,
    Damaged,
}

fn add_records(path: &Path, batch: &Batch, printer: &mut Printer<'_>, health: &mut Health) -> Result<(), Failure> {
    match records(batch) {
        Ok(records) => {
            let directory = path.parent().and_then(Path::file_name);
            let is_metadata =
                directory == Some(OsStr::new(METADATA_DIRECTORY)) || path.file_name() == Some(OsStr::new(BOOTSTRAP));
            records.iter().try_for_each(|record| printer.add(rows::of_record(record, &batch.header, is_metadata)))?;
        }
        Err(reason) => {
            printer.print()?;
            eprintln!("{}: the batch at {}: {reason}", path.display(), batch.position);
            *health = Health::Damaged;
        }
    }
    Ok(())
}

/// Prints rows of one file: JSON at once, tables in pieces.
struct Printer<'a> {
    path: &'a Path,
    format: Format,
    rows: Vec<Row>,
    has_heading: bool,
}

impl<'a> Printer<'a> {
    fn new(path: &'a Path, format: Format) -> Self {
        Self { path, format, rows: Vec::new(), has_heading: false }
    }

    fn add(&mut self, row: Row) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.len() == ROWS_MAX { self.print() } else { Ok(()) }
    }

    fn print(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let Some(first) = rows.first() else {
            if !self.has_heading && self.format == Format::Table {
                eprintln!("{}: nothing in it", self.path.display());
            }
            return Ok(());
        };
        let is_first = !std::mem::replace(&mut self.has_heading, true);
        if self.format == Format::Json {
            return self.print_json(&rows);
        }
        if is_first {
            writeln!(io::stdout(), "{}", self.path.display())?;
        }
        let mut shown = table::table(&first.names());
        for row in &rows {
            shown.add_row(row.texts());
        }
        table::print(&shown, "")
    }

    fn print_json(&self, rows: &[Row]) -> io::Result<()> {
        let mut output = io::BufWriter::new(io::stdout().lock());
        for row in rows {
            serde_json::to_writer(&mut output, &row.json(&self.path.display().to_string()))?;
            output.write_all(b"\n")?;
        }
        output.flush()
    }
}

/// The file that is shown, as the log crate reads files.
struct OneFile(File);

impl Files for OneFile {
    fn list(&self, directory: &FilePath) -> Result<Vec<Entry>, DiskError> {
        Err(DiskError::Missing { file: directory.clone() })
    }

    fn read(&self, file: &FilePath, position: u64, bytes: usize) -> Result<Bytes, DiskError> {
        let mut buffer = vec![0; bytes];
        let mut done = 0;
        while done < bytes {
            match self.0.read_at(&mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskError::Failed { file: file.clone(), reason: error.to_string() }),
            }
        }
        buffer.truncate(done);
        Ok(buffer.into())
    }
}
