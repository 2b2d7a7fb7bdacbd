//! Closed loop: every connection keeps a number of requests in flight.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use strandline_client::{BrokerId, Client, Connection, Pending, Topic};
use strandline_protocol::messages::produce::{ProduceRequest, ProduceResponse};
use tokio::task::JoinSet;

use crate::batch::{Batch, Share};
use crate::failure::Failure;
use crate::measure::{Counts, Window};
use crate::report::Report;
use crate::settings::{Common, Records};
use crate::topic::BenchTopic;

#[derive(Debug, Args)]
pub(crate) struct ProduceArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    records: Records,
    /// Requests that every connection keeps in flight
    #[arg(long, value_name = "REQUESTS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
}

impl ProduceArguments {
    pub(crate) async fn run(&self) -> Result<Report, Failure> {
        let client = self.common.connect().await?;
        let batch = Batch::build(&self.records)?;
        let topic = BenchTopic::prepare(&client, &self.common).await?;
        let report = self.load(&client, &topic, batch).await;
        topic.clean_up().await?;
        report
    }

    async fn load(&self, client: &Client, topic: &BenchTopic, batch: Batch) -> Result<Report, Failure> {
        let mut workers = JoinSet::new();
        let ready = Worker::connect_all(client, topic, self.common.connections, &batch).await?;
        let window = Window::begin(&self.common);
        for worker in ready {
            workers.spawn(worker.run(window, usize::from(self.in_flight)));
        }
        let cpu = window.cpu(self.common.broker_pid.clone()).await?;
        let mut counts = Counts::new();
        while let Some(worker) = workers.join_next().await {
            counts.add(&worker??);
        }
        Report::new("produce", counts, self.common.duration, cpu)
    }
}

/// How long a leader may need to know that it is one, and how often it is asked.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);
const LEADER_PAUSE: Duration = Duration::from_millis(100);

/// Produces on connections of its own, one to each leader of its partitions.
pub(crate) struct Worker {
    connections: BTreeMap<BrokerId, Connection>,
    topic: Arc<Topic>,
    share: Share,
    batch: Batch,
    next: usize,
}

impl Worker {
    /// One worker for each connection, ready to produce.
    pub(crate) async fn connect_all(
        client: &Client,
        topic: &BenchTopic,
        connections: u16,
        batch: &Batch,
    ) -> Result<Vec<Self>, Failure> {
        let mut workers = Vec::new();
        for index in 0..connections {
            let share = topic.share(index, connections)?;
            workers.push(Self::connect(client, &topic.topic, share, batch.clone()).await?);
        }
        Ok(workers)
    }

    /// Connects, and waits until every partition takes batches: a leader that was elected a moment ago may not know yet.
    pub(crate) async fn connect(client: &Client, topic: &Arc<Topic>, share: Share, batch: Batch) -> Result<Self, Failure> {
        let mut connections = BTreeMap::new();
        for (_, leader) in &share {
            if !connections.contains_key(leader) {
                connections.insert(*leader, client.connection_to(*leader).await?);
            }
        }
        let mut worker = Self { connections, topic: Arc::clone(topic), share, batch, next: 0 };
        for _ in 0..worker.share.len() {
            worker.try_until_taken().await?;
        }
        Ok(worker)
    }

    async fn try_until_taken(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            match check(self.submit()?.answer().await?) {
                Err(Failure::Refused { code, .. }) if code.is_retriable() && begun.elapsed() < LEADER_PATIENCE => {
                    // The same partition again.
                    self.next -= 1;
                    tokio::time::sleep(LEADER_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Submits the batch to the partition whose turn it is.
    pub(crate) fn submit(&mut self) -> Result<Pending<ProduceRequest>, Failure> {
        let (partition, leader) = self.share[self.next % self.share.len()];
        self.next += 1;
        Ok(self.connections[&leader].submit(self.batch.request(&self.topic, partition))?)
    }

    async fn run(mut self, window: Window, in_flight: usize) -> Result<Counts, Failure> {
        let (mut counts, mut pending) = (Counts::new(), VecDeque::with_capacity(in_flight));
        while Instant::now() < window.until {
            while pending.len() < in_flight {
                pending.push_back((Instant::now(), self.submit()?));
            }
            let Some((sent, first)) = pending.pop_front() else { break };
            check(first.answer().await?)?;
            let now = Instant::now();
            if window.contains(now) {
                counts.count(self.batch.records, self.batch.bytes.len() as u64, now - sent);
            }
        }
        for (_, rest) in pending {
            check(rest.answer().await?)?;
        }
        Ok(counts)
    }

    /// Appends batches until so many bytes have been stored in every partition.
    pub(crate) async fn fill(mut self, bytes: u64) -> Result<(), Failure> {
        const IN_FLIGHT: usize = 5;
        let batches = bytes.div_ceil(self.batch.bytes.len() as u64) * self.share.len() as u64;
        let mut pending = VecDeque::with_capacity(IN_FLIGHT);
        for _ in 0..batches {
            if pending.len() == IN_FLIGHT
                && let Some(first) = pending.pop_front()
            {
                check(Pending::answer(first).await?)?;
            }
            pending.push_back(self.submit()?);
        }
        for rest in pending {
            check(rest.answer().await?)?;
        }
        Ok(())
    }
}

/// A refusal ends the run: figures of a load that fails mean nothing.
pub(crate) fn check(response: ProduceResponse) -> Result<(), Failure> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match partitions.into_iter().find(|partition| !partition.error_code.is_none()) {
        Some(refused) => Err(Failure::Refused { partition: refused.index, code: refused.error_code }),
        None => Ok(()),
    }
}
