//! `strandline consume`: the records of a topic, from a place to its end or on and on.

use std::io::{self, BufWriter, Write};

use clap::Args;
use strandline_client::{ConsumerRecord, End, Isolation, Offset, Reader, Start};

use crate::cli::Failure;
use crate::cli::connect::Cluster;
use crate::cli::render::{RecordFormat, Renderer};
use crate::cli::time;

#[derive(Debug, Args)]
pub(crate) struct ConsumeArguments {
    /// The topic
    topic: String,
    /// Where to begin: beginning, end, an offset, a time such as 2026-11-21T07:00:00Z, or @ and milliseconds since 1970
    #[arg(long, value_name = "PLACE", default_value = "beginning", value_parser = place)]
    from: Start,
    /// Wait for new records; default end at the last record that there is at the start
    #[arg(short, long)]
    follow: bool,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "RECORDS")]
    count: Option<u64>,
    /// Only these partitions
    #[arg(short, long = "partition", value_name = "PARTITION", value_delimiter = ',')]
    partitions: Vec<i32>,
    /// Only records of transactions that were committed, and those without one
    #[arg(long)]
    committed: bool,
    /// What is printed of a record
    #[arg(long, value_enum, default_value_t)]
    format: RecordFormat,
    /// What stands between key and value
    #[arg(short, long, value_name = "TEXT", default_value = "\t", hide_default_value = true)]
    key_separator: String,
    /// What stands for a key or a value that is not there
    #[arg(long, value_name = "TEXT", default_value = "null")]
    null: String,
    #[command(flatten)]
    cluster: Cluster,
}

impl ConsumeArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let builder = client
            .reader(&self.topic)
            .partitions(self.partitions.iter().copied())
            .from(self.from)
            .until(if self.follow { End::Never } else { End::Now })
            .isolation(if self.committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted });
        let renderer = Renderer { topic: self.topic, format: self.format, key_separator: self.key_separator, null: self.null };
        print(builder.open().await?, &renderer, self.count.unwrap_or(u64::MAX)).await
    }
}

/// Prints records as they come. What has been read is written before more is waited for.
async fn print(mut reader: Reader, renderer: &Renderer, count: u64) -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout());
    let mut left = count;
    while left > 0 {
        let Some(records) = reader.next_batch().await? else { break };
        left -= print_some(&mut output, renderer, &records, left)?;
        output.flush()?;
    }
    Ok(())
}

fn print_some(output: &mut impl Write, renderer: &Renderer, records: &[ConsumerRecord], left: u64) -> io::Result<u64> {
    let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(records.len());
    records[..wanted].iter().try_for_each(|record| renderer.write(output, record))?;
    Ok(wanted as u64)
}

/// Reads a place in a log.
fn place(text: &str) -> Result<Start, &'static str> {
    match text {
        "beginning" => return Ok(Start::Beginning),
        "end" => return Ok(Start::End),
        _ => {}
    }
    if let Some(timestamp) = text.strip_prefix('@') {
        return timestamp.parse().map(Start::Timestamp).map_err(|_| "expected milliseconds since 1970 after @");
    }
    if let Ok(offset) = text.parse::<u64>() {
        return i64::try_from(offset).map(|offset| Start::Offset(Offset(offset))).map_err(|_| "no offset is that large");
    }
    time::parse(text)
        .map(Start::Timestamp)
        .ok_or("expected beginning, end, an offset, a time, or @ and milliseconds since 1970")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_an_offset_or_a_time() {
        assert_eq!(place("beginning"), Ok(Start::Beginning));
        assert_eq!(place("17"), Ok(Start::Offset(Offset(17))));
        assert_eq!(place("@17"), Ok(Start::Timestamp(17)));
        assert_eq!(place("1970-01-01T00:00:01Z"), Ok(Start::Timestamp(1000)));
        assert!(place("-1").is_err());
        assert!(place("yesterday").is_err());
    }
}
