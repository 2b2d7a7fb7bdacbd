//! Open loop: requests are due at fixed times, whatever the answers do, and latency counts from when a request was due.
//! So a broker that pauses is charged for everybody who would have come meanwhile.

use std::sync::mpsc as blocking;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use strandline_client::{Client, Pending};
use strandline_protocol::messages::produce::ProduceRequest;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::batch::Batch;
use crate::failure::Failure;
use crate::measure::{Counts, Window};
use crate::produce::{Worker, check};
use crate::report::Report;
use crate::settings::{Common, Records};
use crate::topic::BenchTopic;

#[derive(Debug, Args)]
pub(crate) struct LatencyArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    records: Records,
    /// Records a second, all connections together
    #[arg(long, value_name = "RECORDS", default_value_t = 1000.0)]
    rate: f64,
}

/// A request on its way: when it was due.
type Due = (Instant, Pending<ProduceRequest>);

impl LatencyArguments {
    pub(crate) async fn run(&self) -> Result<Report, Failure> {
        let client = self.common.connect().await?;
        let batch = Batch::build(&self.records)?;
        let topic = BenchTopic::prepare(&client, &self.common).await?;
        let report = self.load(&client, &topic, batch).await;
        topic.clean_up().await?;
        report
    }

    async fn load(&self, client: &Client, topic: &BenchTopic, batch: Batch) -> Result<Report, Failure> {
        let connections = self.common.connections;
        let between = Duration::from_secs_f64(f64::from(connections) * batch.records as f64 / self.rate.max(0.001));
        let (mut workers, mut pacers) = (JoinSet::new(), Vec::new());
        let ready = Worker::connect_all(client, topic, connections, &batch).await?;
        let window = Window::begin(&self.common);
        for (index, worker) in (0..).zip(ready) {
            // Connections take turns within the time between two requests of one.
            let first = window.from - self.common.warm_up + between * index / u32::from(connections);
            let (due, submitted) = mpsc::unbounded_channel();
            let (ended, end) = blocking::channel();
            thread::spawn(move || drop(ended.send(pace(worker, first, between, window.until, &due))));
            pacers.push(end);
            workers.spawn(answers(submitted, window, batch.clone()));
        }
        let cpu = window.cpu(self.common.broker_pid.clone()).await?;
        let mut counts = Counts::new();
        while let Some(worker) = workers.join_next().await {
            counts.add(&worker??);
        }
        for pacer in pacers {
            pacer.recv().unwrap_or(Err(Failure::NothingMeasured))?;
        }
        Report::new("latency", counts, self.common.duration, cpu)
    }
}

/// Submits a request whenever one is due. A thread, because the runtime's timer has a grain of a millisecond and this
/// one sleeps to within a tenth.
fn pace(
    mut worker: Worker,
    first: Instant,
    between: Duration,
    until: Instant,
    submitted: &mpsc::UnboundedSender<Due>,
) -> Result<(), Failure> {
    let mut due = first;
    while due < until {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if submitted.send((due, worker.submit()?)).is_err() {
            break;
        }
        due += between;
    }
    Ok(())
}

/// Takes the answers as they come; on one connection that is the order of the requests.
async fn answers(mut submitted: mpsc::UnboundedReceiver<Due>, window: Window, batch: Batch) -> Result<Counts, Failure> {
    let mut counts = Counts::new();
    while let Some((due, pending)) = submitted.recv().await {
        check(pending.answer().await?)?;
        if window.contains(due) {
            counts.count(batch.records, batch.bytes.len() as u64, due.elapsed());
        }
    }
    Ok(counts)
}
