//! A broker in a process of its own, for tests of the client library and of the commands.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use strandline_client::{Client, NewTopic};

/// Well above what any step of these tests takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that ends with the test.
pub(crate) struct Broker {
    process: Child,
    directory: PathBuf,
    address: String,
    settings: &'static [&'static str],
}

impl Broker {
    pub(crate) fn start(name: &str) -> Self {
        Self::start_in(Self::directory(name))
    }

    pub(crate) fn directory(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("strandline-process-{name}-{}", std::process::id()))
    }

    /// Starts in a directory that may be formatted already.
    pub(crate) fn start_in(directory: PathBuf) -> Self {
        Self::start_with(directory, &[])
    }

    /// Starts with these settings on top.
    pub(crate) fn start_with(directory: PathBuf, settings: &'static [&'static str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut broker = Self { process: Self::spawn(&directory, &address, settings), directory, address, settings };
        broker.wait_until_ready();
        broker
    }

    fn spawn(directory: &PathBuf, address: &str, settings: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_strandline"))
            .args(["serve", "--data"])
            .arg(directory)
            .args(["--listen", address, "--http", "127.0.0.1:0", "--set", "group.initial.rebalance.delay.ms=200"])
            .args(["--set", "group.consumer.min.heartbeat.interval.ms=1", "--set", "group.consumer.heartbeat.interval.ms=300"])
            .args(["--set", "offsets.topic.num.partitions=3", "--set", "transaction.state.log.num.partitions=3"])
            .args(["--set", "transaction.abort.timed.out.transaction.cleanup.interval.ms=200"])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The log says when; what follows in it is read away.
    fn wait_until_ready(&mut self) {
        let mut lines = BufReader::new(self.process.stderr.take().unwrap()).lines();
        while !lines.next().expect("the broker lives").unwrap().contains("serving") {}
        std::thread::spawn(move || lines.for_each(drop));
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.process = Self::spawn(&self.directory, &self.address, self.settings);
        self.wait_until_ready();
    }

    pub(crate) async fn client(&self) -> Client {
        Client::builder([&self.address]).connect().await.unwrap()
    }

    /// Runs a command of the binary.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_strandline"));
        command.args(arguments).args(["--bootstrap", &self.address]).output().await.unwrap()
    }

    pub(crate) async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(crate) async fn make_topic(client: &Client, topic: &str, partitions: i32) {
    client.admin().create_topics([NewTopic::new(topic, partitions)]).await.unwrap().remove(0).1.unwrap();
}
