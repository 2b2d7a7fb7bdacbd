//! `strandline dev`: a cluster of processes on this machine, to try things out and to test against.
//!
//! Node i of n is `strandline serve` with the keys that [`plan`] gives it, in a process group of its own, so that Ctrl-C reaches
//! this process alone, which then asks every node to stop. A node that ends by itself is reported; the others go on, as a
//! cluster does.
//!
//! Not here: anything that a broker does. Invariant: when this process ends, its nodes have ended.

mod plan;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use strandline_log::meta_properties::MetaProperties;
use strandline_log::names::META_PROPERTIES;
use strandline_protocol::ids::Uuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use crate::dev::plan::{Plan, PlannedNode};
use crate::exit::Exit;
use crate::start::directory::random;

/// A node that does not serve within this is reported; it may still come.
const SERVING_MAX: Duration = Duration::from_secs(60);

/// A node that does not end within this is killed: longer than a broker gives itself.
const STOP_MAX: Duration = Duration::from_secs(40);

/// How often nodes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts a cluster of several processes on this machine.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = plan::PORTS)]
pub(crate) struct DevArgs {
    /// How many nodes; each is broker and controller.
    #[arg(short = 'n', long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99), value_name = "NODES")]
    nodes: u16,
    /// Where the nodes keep their data and logs: DIR/node-1, DIR/node-1.log and so on.
    #[arg(long, value_name = "DIR", default_value = "./strandline-dev")]
    data: PathBuf,
    /// The port at which clients reach the first node.
    #[arg(long, default_value_t = 9092, value_name = "PORT")]
    port: u16,
    /// Any key of the configuration, for every node.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
enum DevError {
    #[error("{0}")]
    Plan(#[from] plan::PlanError),
    #[error("cannot use {}: {reason}; choose another directory with --data DIR", directory.display())]
    Directory { directory: PathBuf, reason: io::Error },
    #[error("cannot start a node: {0}")]
    Start(io::Error),
    #[error("signals cannot be waited for: {0}")]
    Signals(io::Error),
}

/// A node's process.
struct Running {
    node: PlannedNode,
    log: PathBuf,
    process: Child,
    ended: Option<ExitStatus>,
    serves: bool,
}

/// Runs a cluster until it is stopped.
pub(crate) fn dev(args: &DevArgs) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.map_err(DevError::Start).and_then(|runtime| runtime.block_on(run(args)));
    ran.unwrap_or_else(|error| {
        eprintln!("strandline: {error}");
        Exit::Failed
    })
}

async fn run(args: &DevArgs) -> Result<Exit, DevError> {
    let plan = Plan::new(args.nodes, args.port, &args.set)?;
    let failed = |reason| DevError::Directory { directory: args.data.clone(), reason };
    fs::create_dir_all(&args.data).map_err(failed)?;
    let cluster = cluster_id(&args.data).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DevError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DevError::Signals)?;
    let mut nodes = Vec::new();
    for node in plan.nodes() {
        match start(&plan, node, &args.data, &cluster) {
            Ok(running) => nodes.push(running),
            Err(error) => {
                stop(&mut nodes).await;
                return Err(error);
            }
        }
    }
    let supervised = async {
        announce(&plan, &args.data, &mut nodes).await;
        while nodes.iter().any(|node| node.ended.is_none()) {
            sleep(LOOK_EVERY).await;
            look(&mut nodes);
        }
    };
    let stopped = tokio::select! {
        () = supervised => false,
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
    };
    if !stopped {
        eprintln!("strandline: no node is left");
        return Ok(Exit::Failed);
    }
    println!("Stopping");
    Ok(if stop(&mut nodes).await { Exit::Done } else { Exit::StoppedUncleanly })
}

/// The cluster that the directory holds, or a new one.
fn cluster_id(data: &Path) -> io::Result<String> {
    match fs::read(data.join("node-1").join(META_PROPERTIES)) {
        Ok(contents) => MetaProperties::parse(&contents).map(|found| found.cluster_id).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Uuid(random()?).to_string().replace('-', "_")),
        Err(error) => Err(error),
    }
}

fn start(plan: &Plan, node: PlannedNode, data: &Path, cluster: &str) -> Result<Running, DevError> {
    let log = data.join(format!("node-{}.log", node.id));
    let failed = |reason| DevError::Directory { directory: data.to_owned(), reason };
    let file = File::options().create(true).append(true).open(&log).map_err(failed)?;
    let program = std::env::current_exe().map_err(DevError::Start)?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--data").arg(data.join(format!("node-{}", node.id)));
    command.arg("--http").arg(format!("127.0.0.1:{}", node.http));
    for key in plan.keys(&node, cluster) {
        command.arg("--set").arg(key);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).process_group(0).kill_on_drop(true);
    let process = command.spawn().map_err(DevError::Start)?;
    Ok(Running { node, log, process, ended: None, serves: false })
}

/// Waits until the nodes serve, and says where.
async fn announce(plan: &Plan, data: &Path, nodes: &mut [Running]) {
    let deadline = Instant::now() + SERVING_MAX;
    while nodes.iter().any(|node| node.ended.is_none() && !node.serves) && Instant::now() < deadline {
        for node in nodes.iter_mut().filter(|node| node.ended.is_none() && !node.serves) {
            node.serves = is_ready(node.node.http).await;
        }
        sleep(LOOK_EVERY).await;
        look(nodes);
    }
    for late in nodes.iter().filter(|node| node.ended.is_none() && !node.serves) {
        eprintln!("Node {} does not serve yet; see {}", late.node.id, late.log.display());
    }
    let ids: Vec<String> = nodes.iter().filter_map(|node| node.process.id()).map(|id| id.to_string()).collect();
    println!("Kafka clients   {}", plan.bootstrap());
    println!("HTTP            {}", plan.http());
    println!("Data and logs   {} (processes {})", data.display(), ids.join(", "));
    println!("Ctrl-C stops the cluster");
}

/// Whether the node says that it is ready.
async fn is_ready(port: u16) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let is_good = |answer: &[u8]| answer.split(|byte| *byte == b' ').nth(1) == Some(b"200");
    matches!(timeout(Duration::from_secs(1), asked).await, Ok(Ok(answer)) if is_good(&answer))
}

/// Notes and reports nodes that ended.
fn look(nodes: &mut [Running]) {
    for node in nodes.iter_mut().filter(|node| node.ended.is_none()) {
        if let Ok(Some(status)) = node.process.try_wait() {
            node.ended = Some(status);
            eprintln!("Node {} ended by itself ({status}); see {}", node.node.id, node.log.display());
        }
    }
}

/// Asks every node to stop and waits for it. Says whether all of them ended well.
async fn stop(nodes: &mut [Running]) -> bool {
    for node in nodes.iter().filter(|node| node.ended.is_none()) {
        let id = node.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // One that is gone already has nothing to stop.
            let _ = kill_process(id, Signal::TERM);
        }
    }
    let mut well = true;
    let deadline = Instant::now() + STOP_MAX;
    for node in nodes.iter_mut().filter(|node| node.ended.is_none()) {
        match tokio::time::timeout_at(deadline, node.process.wait()).await {
            Ok(Ok(status)) => well &= status.success(),
            _ => {
                well = false;
                eprintln!("Node {} does not end and is killed; see {}", node.node.id, node.log.display());
                let _ = node.process.kill().await;
            }
        }
    }
    well
}
