//! The options that all loads have.

use std::time::Duration;

use clap::{Args, ValueEnum};
use strandline_client::{Client, Codec, Compression};

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Addresses of servers of the cluster
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_delimiter = ',')]
    pub(crate) bootstrap: Vec<String>,
    /// The topic, made if it is not there; default one of its own, which is deleted at the end
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Partitions of a topic that is made
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: i32,
    /// Replicas of a topic that is made; default the cluster's own number
    #[arg(long)]
    pub(crate) replication: Option<i16>,
    /// Configuration of a topic that is made, may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) topic_config: Vec<(String, String)>,
    /// Connections; each has partitions of its own, or shares one if there are fewer
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// How long is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// How long the load runs before, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// Processes of the cluster on this machine, to report their CPU
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) broker_pid: Vec<u32>,
    /// How the figures are shown
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For scripts
    Json,
}

/// What a batch is made of.
#[derive(Debug, Args)]
pub(crate) struct Records {
    /// Bytes of a record's value
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(crate) record_bytes: usize,
    /// Bytes of a batch before compression, or `single` for one record a batch
    #[arg(long, value_name = "BYTES|single", default_value = "16384", value_parser = batch_size)]
    pub(crate) batch: BatchSize,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", default_value = "none", value_parser = compression)]
    pub(crate) compression: Compression,
    /// Who has to have a record before it counts: all replicas in sync, or 1 for the leader
    #[arg(long, default_value = "all", value_parser = acks)]
    pub(crate) acks: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchSize {
    Single,
    Bytes(usize),
}

impl Common {
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::builder(&self.bootstrap).client_id("strandline-bench").connect().await?)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.trim_end_matches('s').parse().map_err(|_| "expected seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn key_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn batch_size(text: &str) -> Result<BatchSize, &'static str> {
    match text {
        "single" => Ok(BatchSize::Single),
        bytes => bytes.parse().map(BatchSize::Bytes).map_err(|_| "expected bytes, or single"),
    }
}

fn compression(text: &str) -> Result<Compression, &'static str> {
    let codec = Codec::ALL.into_iter().find(|codec| codec.name() == text);
    codec.map(Compression::of).ok_or("expected none, gzip, snappy, lz4 or zstd")
}

fn acks(text: &str) -> Result<i16, &'static str> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        _ => Err("expected all or 1"),
    }
}
