//! Every connection fetches its partitions from the beginning to the end, over and over, and looks at no more than the
//! headers of batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use strandline_client::{BrokerId, Client, Connection, ErrorCode, Offset, OffsetSpec, Topic};
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use strandline_protocol::records::Batches;
use tokio::task::JoinSet;

use crate::batch::{Batch, Share};
use crate::failure::Failure;
use crate::measure::{Counts, Window};
use crate::produce::Worker;
use crate::report::Report;
use crate::settings::{Common, Records};
use crate::topic::BenchTopic;

/// How long a broker may wait for records, in milliseconds; there are always some.
const WAIT_MS: i32 = 500;

#[derive(Debug, Args)]
pub(crate) struct ConsumeArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    records: Records,
    /// Megabytes that are produced into every partition first; 0 to read what there is
    #[arg(long, value_name = "MB", default_value_t = 256)]
    fill: u64,
    /// Bytes of one partition that are asked for at once
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    fetch_bytes: i32,
}

impl ConsumeArguments {
    pub(crate) async fn run(&self) -> Result<Report, Failure> {
        let client = self.common.connect().await?;
        let topic = BenchTopic::prepare(&client, &self.common).await?;
        let report = self.load(&client, &topic).await;
        topic.clean_up().await?;
        report
    }

    async fn load(&self, client: &Client, topic: &BenchTopic) -> Result<Report, Failure> {
        self.fill(client, topic).await?;
        let ranges = Arc::new(ranges(client, &topic.topic).await?);
        let mut workers = JoinSet::new();
        let window = Window::begin(&self.common);
        for index in 0..self.common.connections {
            let share = topic.share(index, self.common.connections)?;
            for (leader, partitions) in by_leader(&share) {
                let connection = client.connection_to(leader).await?;
                let positions = partitions.into_iter().map(|partition| (partition, ranges[&partition].0)).collect();
                let (topic, ranges) = (Arc::clone(&topic.topic), Arc::clone(&ranges));
                let fetcher = Fetcher { connection, topic, ranges, positions, fetch_bytes: self.fetch_bytes };
                workers.spawn(fetcher.run(window));
            }
        }
        let cpu = window.cpu(self.common.broker_pid.clone()).await?;
        let mut counts = Counts::new();
        while let Some(worker) = workers.join_next().await {
            counts.add(&worker??);
        }
        Report::new("consume", counts, self.common.duration, cpu)
    }

    async fn fill(&self, client: &Client, topic: &BenchTopic) -> Result<(), Failure> {
        if self.fill == 0 {
            return Ok(());
        }
        let batch = Batch::build(&self.records)?;
        let worker = Worker::connect(client, &topic.topic, topic.share(0, 1)?, batch).await?;
        worker.fill(self.fill * 1_000_000).await
    }
}

/// First offset and the one behind the last, by partition.
type Ranges = BTreeMap<i32, (Offset, Offset)>;

async fn ranges(client: &Client, topic: &Topic) -> Result<Ranges, Failure> {
    let partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
    let mut ends = Vec::new();
    for spec in [OffsetSpec::Earliest, OffsetSpec::Latest] {
        let found = client.admin().list_offsets(&topic.name, &partitions, spec).await?;
        let offsets = found.into_iter().map(|(partition, found)| Ok((partition, found?.offset.unwrap_or(Offset::ZERO))));
        ends.push(offsets.collect::<Result<BTreeMap<i32, Offset>, Failure>>()?);
    }
    let range = |partition: &i32| {
        let (first, end) = (ends[0][partition], ends[1][partition]);
        if first < end { Ok((*partition, (first, end))) } else { Err(Failure::Empty(*partition)) }
    };
    partitions.iter().map(range).collect()
}

fn by_leader(share: &Share) -> BTreeMap<BrokerId, Vec<i32>> {
    let mut leaders: BTreeMap<BrokerId, Vec<i32>> = BTreeMap::new();
    for (partition, leader) in share {
        leaders.entry(*leader).or_default().push(*partition);
    }
    leaders
}

/// Reads partitions of one leader on one connection.
struct Fetcher {
    connection: Connection,
    topic: Arc<Topic>,
    ranges: Arc<Ranges>,
    positions: BTreeMap<i32, Offset>,
    fetch_bytes: i32,
}

impl Fetcher {
    async fn run(mut self, window: Window) -> Result<Counts, Failure> {
        let mut counts = Counts::new();
        while Instant::now() < window.until {
            let sent = Instant::now();
            let response = self.connection.call(self.request()).await?;
            let now = Instant::now();
            let (records, bytes) = self.advance(response)?;
            if window.contains(now) {
                counts.count(records, bytes, now - sent);
            }
        }
        Ok(counts)
    }

    fn request(&self) -> FetchRequest {
        let partition = |(partition, offset): (&i32, &Offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: self.fetch_bytes,
            ..FetchPartition::default()
        };
        FetchRequest {
            max_wait_ms: WAIT_MS,
            min_bytes: 1,
            topics: vec![FetchTopic {
                topic: TopicName::from(self.topic.name.as_str()),
                topic_id: self.topic.id,
                partitions: self.positions.iter().map(partition).collect(),
            }],
            ..FetchRequest::default()
        }
    }

    /// Counts what came and moves on; from the end back to the beginning.
    fn advance(&mut self, response: FetchResponse) -> Result<(u64, u64), Failure> {
        let (mut records, mut bytes) = (0, 0);
        for partition in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            let index = partition.partition_index;
            if partition.error_code != ErrorCode::NONE {
                return Err(Failure::Refused { partition: index, code: partition.error_code });
            }
            let data = partition.records.map(|records| records.into_bytes()).unwrap_or_default();
            let Some(position) = self.positions.get_mut(&index) else { continue };
            for batch in Batches::new(&data).map_while(Result::ok) {
                records += u64::try_from(batch.header.record_count).unwrap_or(0);
                bytes += batch.bytes.len() as u64;
                *position = Offset(batch.header.next_offset());
            }
            let (first, end) = self.ranges[&index];
            if *position >= end {
                *position = first;
            }
        }
        Ok((records, bytes))
    }
}
