//! What a rebalance costs: many members of one group join at once (join storm), then some of them are restarted one after
//! the other (rolling bounce), while records come at a steady rate.
//!
//! A group is stable when every partition has one owner and no member has two more than another. Records that waited show
//! what the rebalance cost those who read: the largest backlog, how many took longer than a second from producer to member,
//! and the longest.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use strandline_client::{
    Assignor, Client, ConsumeError, Consumer, ConsumerBuilder, GroupProtocol, NewTopic, Producer, Rebalance, Record, Start,
    Stopper,
};
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::settings::Format;

/// A group that looks stable is watched for so long before it is believed.
const CALM: Duration = Duration::from_secs(2);

/// How often the group and the backlog are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How long a member takes to leave.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// A record that takes longer was held up.
const LATE_MS: u64 = 1000;

#[derive(Debug, Args)]
pub(crate) struct RebalanceArguments {
    /// Addresses of servers of the cluster
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_delimiter = ',')]
    bootstrap: Vec<String>,
    /// Members of the group
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    members: u16,
    /// Partitions of the topic
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Which protocol the members speak
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// Members that are restarted, one after the other
    #[arg(long, value_name = "MEMBERS", default_value_t = 20)]
    bounce: u16,
    /// Records a second
    #[arg(long, value_name = "RECORDS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How long a phase may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
    /// How the figures are shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// Classic, everybody stops at a rebalance
    Eager,
    /// Classic, cooperative-sticky
    Cooperative,
    /// KIP-848
    Consumer,
}

/// What everybody writes on.
#[derive(Debug, Default)]
struct Board {
    owned: Mutex<Vec<BTreeSet<i32>>>,
    produced: AtomicU64,
    delivered: AtomicU64,
    late: AtomicU64,
    longest_ms: AtomicU64,
    backlog_max: AtomicU64,
}

/// The figures of a phase.
#[derive(Debug)]
struct Phase {
    name: &'static str,
    /// `None` if the group was not stable in time.
    stable_after: Option<Duration>,
    delivered: u64,
    late: u64,
    longest_ms: u64,
    backlog_max: u64,
}

/// A member and the task that polls it.
struct Member {
    stopper: Stopper,
    task: JoinHandle<Result<(), ConsumeError>>,
}

impl Member {
    /// Waits until it has left its group.
    async fn stop(self) -> Result<(), Failure> {
        self.stopper.stop();
        Ok(self.task.await??)
    }
}

impl RebalanceArguments {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let client = Client::builder(&self.bootstrap).client_id("strandline-bench").connect().await?;
        let topic = format!("strandline-bench-rebalance-{}", std::process::id());
        for (topic, created) in client.admin().create_topics([NewTopic::new(&topic, self.partitions)]).await? {
            created.map_err(|error| Failure::Topic { topic, error })?;
        }
        let phases = self.load(&client, &topic).await;
        client.admin().delete_topics([topic.as_str()]).await?;
        self.show(&phases?)?;
        Ok(())
    }

    async fn load(&self, client: &Client, topic: &str) -> Result<Vec<Phase>, Failure> {
        let board = Arc::new(Board::default());
        board.owned().resize(usize::from(self.members), BTreeSet::new());
        let producer = client.producer().build()?;
        let feed = tokio::spawn(feed(producer, topic.to_owned(), self.partitions, self.rate, Arc::clone(&board)));
        let storm = async {
            let joining: Vec<_> =
                (0..self.members).map(|index| tokio::spawn(self.join(client, topic, index, &board))).collect();
            let mut members = VecDeque::new();
            for member in joining {
                members.push_back(member.await??);
            }
            Ok(members)
        };
        let (mut members, first) = self.phase("join storm", &board, storm).await?;
        let bounce = async {
            for index in 0..self.bounce.min(self.members) {
                if let Some(member) = members.pop_front() {
                    member.stop().await?;
                }
                members.push_back(self.join(client, topic, index, &board).await?);
            }
            Ok(())
        };
        let ((), second) = self.phase("rolling bounce", &board, bounce).await?;
        feed.abort();
        members.iter().for_each(|member| member.stopper.stop());
        for member in members {
            member.stop().await?;
        }
        Ok(vec![first, second])
    }

    /// Makes a member; the task that polls it closes it when it is stopped.
    fn join(
        &self,
        client: &Client,
        topic: &str,
        index: u16,
        board: &Arc<Board>,
    ) -> impl Future<Output = Result<Member, Failure>> + Send + use<> {
        let builder = self.builder(client, topic);
        let board = Arc::clone(board);
        async move {
            let watching = Arc::clone(&board);
            let builder = builder.on_rebalance(move |rebalance| watching.note(usize::from(index), rebalance));
            let consumer = builder.build().await?;
            let stopper = consumer.stopper();
            Ok(Member { stopper, task: tokio::spawn(poll(consumer, board)) })
        }
    }

    fn builder(&self, client: &Client, topic: &str) -> ConsumerBuilder {
        let builder = client.consumer(topic).topics([topic]).start(Start::Beginning);
        match self.protocol {
            Protocol::Eager => builder.protocol(GroupProtocol::Classic).assignors([Assignor::Range]),
            Protocol::Cooperative => builder.protocol(GroupProtocol::Classic).assignors([Assignor::CooperativeSticky]),
            Protocol::Consumer => builder.protocol(GroupProtocol::Consumer),
        }
    }

    /// Measures from the beginning of `work` until the group is stable behind it.
    async fn phase<T>(
        &self,
        name: &'static str,
        board: &Arc<Board>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<(T, Phase), Failure> {
        let before = board.delivered.load(Ordering::Relaxed);
        for counter in [&board.late, &board.longest_ms, &board.backlog_max] {
            counter.store(0, Ordering::Relaxed);
        }
        let begun = Instant::now();
        let watching = tokio::spawn(watch_backlog(Arc::clone(board)));
        let done = work.await?;
        let stable_after = self.stable(board, begun).await;
        watching.abort();
        let phase = Phase {
            name,
            stable_after,
            delivered: board.delivered.load(Ordering::Relaxed) - before,
            late: board.late.load(Ordering::Relaxed),
            longest_ms: board.longest_ms.load(Ordering::Relaxed),
            backlog_max: board.backlog_max.load(Ordering::Relaxed),
        };
        Ok((done, phase))
    }

    async fn stable(&self, board: &Board, begun: Instant) -> Option<Duration> {
        let mut since = None;
        while begun.elapsed() < Duration::from_secs(self.patience) {
            if board.is_stable(self.partitions) {
                let since = *since.get_or_insert_with(Instant::now);
                if since.elapsed() >= CALM {
                    return Some(since - begun);
                }
            } else {
                since = None;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        None
    }

    fn show(&self, phases: &[Phase]) -> Result<(), Failure> {
        let value = |phase: &Phase| -> Value {
            json!({
                "phase": phase.name,
                "stable_after_seconds": phase.stable_after.map(|after| after.as_secs_f64()),
                "delivered": phase.delivered,
                "later_than_a_second": phase.late,
                "longest_ms": phase.longest_ms,
                "backlog_max": phase.backlog_max,
            })
        };
        match self.format {
            Format::Json => println!("{:#}", phases.iter().map(value).collect::<Value>()),
            Format::Table => {
                println!(
                    "{:<16}{:>14}{:>12}{:>10}{:>14}{:>14}",
                    "phase", "stable after", "delivered", "late", "longest ms", "backlog max"
                );
                for phase in phases {
                    let after =
                        phase.stable_after.map_or_else(|| "never".to_owned(), |after| format!("{:.1} s", after.as_secs_f64()));
                    println!(
                        "{:<16}{:>14}{:>12}{:>10}{:>14}{:>14}",
                        phase.name, after, phase.delivered, phase.late, phase.longest_ms, phase.backlog_max
                    );
                }
            }
        }
        Ok(())
    }
}

impl Board {
    fn owned(&self) -> MutexGuard<'_, Vec<BTreeSet<i32>>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, member: usize, rebalance: &Rebalance) {
        let mut owned = self.owned();
        let partitions = rebalance.partitions().iter().map(|(_, partition)| *partition);
        match rebalance {
            Rebalance::Assigned(_) => owned[member].extend(partitions),
            Rebalance::Revoked(_) | Rebalance::Lost(_) => partitions.for_each(|partition| {
                owned[member].remove(&partition);
            }),
        }
    }

    fn is_stable(&self, partitions: i32) -> bool {
        let owned = self.owned();
        let counts: Vec<usize> = owned.iter().map(BTreeSet::len).collect();
        let all: BTreeSet<i32> = owned.iter().flatten().copied().collect();
        let even = counts.iter().max().zip(counts.iter().min()).is_some_and(|(most, least)| most - least <= 1);
        even && counts.iter().sum::<usize>() == all.len() && i32::try_from(all.len()) == Ok(partitions)
    }
}

/// Produces records at a steady rate to all partitions in turn, each with the time as its value's time.
async fn feed(producer: Producer, topic: String, partitions: i32, rate: u32, board: Arc<Board>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    for partition in (0..partitions).cycle() {
        tick.tick().await;
        let record = Record::to(&topic).partition(partition).value("x").timestamp_ms(now_ms());
        // The member sees what is missing.
        if producer.enqueue(record).await.is_ok() {
            board.produced.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Polls until the member is stopped, and leaves the group.
async fn poll(mut consumer: Consumer, board: Arc<Board>) -> Result<(), ConsumeError> {
    while let Some(batch) = consumer.poll().await? {
        let now_ms = now_ms();
        for record in batch.records() {
            let took_ms = u64::try_from(now_ms - record.timestamp_ms).unwrap_or(0);
            board.longest_ms.fetch_max(took_ms, Ordering::Relaxed);
            board.late.fetch_add(u64::from(took_ms > LATE_MS), Ordering::Relaxed);
        }
        board.delivered.fetch_add(batch.records().len() as u64, Ordering::Relaxed);
        batch.ack();
    }
    consumer.close(CLOSE_PATIENCE).await;
    Ok(())
}

async fn watch_backlog(board: Arc<Board>) {
    loop {
        let delivered = board.delivered.load(Ordering::Relaxed);
        let backlog = board.produced.load(Ordering::Relaxed).saturating_sub(delivered);
        board.backlog_max.fetch_max(backlog, Ordering::Relaxed);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_stable_when_every_partition_has_one_owner_and_shares_are_even() {
        let board = Board::default();
        let set = |owned: &[&[i32]]| *board.owned() = owned.iter().map(|one| one.iter().copied().collect()).collect();
        set(&[&[0, 1], &[2]]);
        assert!(board.is_stable(3));
        set(&[&[0, 1], &[1]]);
        assert!(!board.is_stable(3), "two have the same, and one partition has nobody");
        set(&[&[0, 1, 2], &[]]);
        assert!(!board.is_stable(3), "shares are not even");
    }
}
