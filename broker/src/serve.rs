//! `strandline serve`: a broker from its command line to its exit code.
//!
//! | thread or runtime | what runs there                                                             |
//! |-------------------|-----------------------------------------------------------------------------|
//! | data workers      | connections, completions of the ring (`request.threads`)                    |
//! | peers             | connections to other nodes, and those of controllers                        |
//! | data threads      | whatever waits for a disk: operations, reads of old records, jobs           |
//! | main              | signals, the node's alarm, sweeps                                           |
//! | http              | metrics and health                                                          |
//!
//! Not here: what can be wrong with a start (`start/`), and what the node decides.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use strandline_log::disk::LogDir;
use strandline_node::Node;
use strandline_node::boot::Boot;
use strandline_node::config::BrokerConfig;
use strandline_node::io::{Input, ListenerKind};
use strandline_node::topology::Listener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{error, info, warn};

use crate::clock::{Alarm, Clock};
use crate::disk::Disk;
use crate::disk::probe::{Choice, Executor, probe};
use crate::disk::reader::Trouble;
use crate::exit::Exit;
use crate::http;
use crate::metrics::Metrics;
use crate::net::answers::Answers;
use crate::net::budget::Budget;
use crate::net::connection::Common;
use crate::net::registry::{Limits, Registry};
use crate::net::{Net, bind};
use crate::peers::Peers;
use crate::rim::{Event, Rim};
use crate::shell::{Shell, Submit};
use crate::start::StartError;
use crate::start::directory::{DataDirectories, random};
use crate::start::recovery::{Recovered, recover};
use crate::start::settings::{ServeArgs, Settings};

/// Threads that may wait for disks at a time. Reads of old records are the most of it: more of them at once are no
/// faster on one device.
const DISK_THREADS_MAX: usize = 64;

/// A thread that had nothing to do for so long ends.
const DISK_THREADS_KEPT: Duration = Duration::from_secs(5);

/// How often a broker that does not serve yet says what it waits for.
const STILL_STARTING: Duration = Duration::from_secs(5);

/// How long a stop may take before the process ends without the mark of a clean shutdown.
const STOP_MAX: Duration = Duration::from_secs(300);

/// How often idle connections are looked for, and unused memory and descriptors given back.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Segment files held open for appending; a quarter of the process's descriptors if that is less.
const OPEN_FILES_MAX: u64 = 4096;

type Broker = Shell<Node, Rim>;

/// Runs a broker until it is stopped.
pub(crate) fn serve(args: &ServeArgs) -> Exit {
    match start(args) {
        Ok(running) => running.run(),
        Err(error) => {
            eprintln!("strandline: {error}");
            Exit::Failed
        }
    }
}

/// A socket that listens and from which nothing is accepted yet.
struct Bound {
    kind: ListenerKind,
    name: Arc<str>,
    socket: std::net::TcpListener,
}

/// A broker whose node has taken its first step.
struct Running {
    broker: Arc<Broker>,
    events: UnboundedReceiver<Event>,
    settings: Settings,
    listeners: Vec<Bound>,
    clock: Clock,
    is_ready: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    /// Closed and unlocked when the process ends.
    directories: DataDirectories,
    executor: Executor,
    begun: Instant,
    data: Runtime,
    peers: Runtime,
}

fn start(args: &ServeArgs) -> Result<Running, StartError> {
    let begun = Instant::now();
    let mut settings = Settings::read(args)?;
    let listeners = listen(&settings)?;
    let http = http_listener(&settings)?;
    let mut directories = DataDirectories::open(&settings.data, &mut settings.config)?;
    let roots = directories.roots();
    let failed = |reason| StartError::Directory { directory: roots.of(LogDir::FIRST).to_owned(), reason };
    let executor = executor(&directories, &settings.config);
    let metrics = Arc::new(Metrics::new().map_err(|error| failed(io::Error::other(error)))?);
    metrics.disk_executor.with_label_values(&[executor.name()]).set(1);
    let data = data_runtime(&settings.config).map_err(failed)?;
    let disk =
        Disk::open(roots.clone(), executor, open_files_max(), data.handle().clone(), Arc::clone(&metrics)).map_err(failed)?;
    let clock = Clock::start();
    let found = loop {
        match recover(&roots, &directories.log_dirs(), disk.reader().files(), &settings.config, clock.now().wall_ms) {
            Ok(found) => break found,
            // Everything else can be served without it.
            Err(error) => match error.failed_log_dir() {
                Some(log_dir) => directories.fail(log_dir, &error)?,
                None => return Err(error),
            },
        }
    };
    directories.begin()?;
    info!(
        partitions = found.partitions.len(),
        offline = found.offline.len(),
        clean = found.was_clean,
        scanned_bytes = found.bytes_scanned,
        "recovered"
    );
    let (events_in, events) = unbounded_channel();
    let mut node = node(&settings, &directories, found).map_err(failed)?;
    let mut first = Vec::new();
    node.start(clock.now(), &mut first);
    let peers = peers_runtime().map_err(failed)?;
    let rim = rim(&settings.config, disk, clock, data.handle(), peers.handle(), &metrics, events_in);
    let broker = Arc::new(Shell::new(node, first, clock, rim));
    connect(&broker, data.handle());
    let is_ready = Arc::new(AtomicBool::new(false));
    let pages = http::Pages {
        metrics: Arc::clone(&metrics),
        shell: Arc::clone(&broker),
        is_ready: Arc::clone(&is_ready),
        lag: Arc::default(),
        clock,
    };
    http::serve(http, pages).map_err(failed)?;
    Ok(Running { broker, events, settings, listeners, clock, is_ready, metrics, directories, executor, begun, data, peers })
}

/// The node: everything that was found, put together.
fn node(settings: &Settings, directories: &DataDirectories, found: Recovered) -> io::Result<Node> {
    let boot = Boot {
        config: settings.config.clone(),
        topology: settings.topology.clone(),
        cluster_id: directories.cluster_id.clone(),
        log_dirs: directories.log_dirs(),
        seed: u64::from_ne_bytes(random()?),
        metadata: found.metadata,
        recovered: found.partitions,
        previous_broker_epoch: found.previous_broker_epoch,
        offline: found.offline,
    };
    Ok(boot.node())
}

fn rim(
    config: &BrokerConfig,
    disk: Arc<Disk>,
    clock: Clock,
    data: &Handle,
    peers: &Handle,
    metrics: &Arc<Metrics>,
    events: UnboundedSender<Event>,
) -> Rim {
    let count = |key: &str| usize::try_from(config.number(key)).unwrap_or(usize::MAX);
    let common = Common {
        budget: Budget::new(count("queued.max.request.bytes")),
        answers: Answers::default(),
        metrics: Arc::clone(metrics),
        requests_max: count("queued.max.requests"),
        clock,
        runtime: data.clone(),
    };
    let registry = Registry::new(Limits {
        connections: count("max.connections"),
        connections_per_address: count("max.connections.per.ip"),
        idle_ms: u64::try_from(config.number("connections.max.idle.ms")).unwrap_or(u64::MAX),
    });
    let frame_bytes_max = count("socket.request.max.bytes");
    let net = Net::new(common, registry, frame_bytes_max, Arc::clone(disk.reader()));
    let peers = Peers::new(format!("node-{}", config.number("node.id")), peers.clone());
    Rim { net, peers, disk, alarm: Alarm::new(), events, threads: data.clone(), node: OnceLock::new() }
}

/// Lets what the rim learns come back to the node.
fn connect(broker: &Arc<Broker>, data: &Handle) {
    let back: Weak<Broker> = Arc::downgrade(broker);
    let disk = &broker.executors().disk;
    disk.connect(move |ended| {
        if let Some(broker) = back.upgrade() {
            let input = |(owner, result)| Input::Disk { owner, result };
            broker.submit(&mut ended.into_iter().map(input).collect());
        }
    });
    let back: Weak<Broker> = Arc::downgrade(broker);
    disk.reader().report_to(move |trouble, log, base_offset| {
        if let Some(broker) = back.upgrade() {
            broker.submit(&mut vec![match trouble {
                Trouble::Damaged => Input::Damaged { log, base_offset },
                Trouble::Unreadable => Input::Unreadable { log, base_offset },
            }]);
        }
    });
    let node: Weak<dyn Submit> = Arc::<Broker>::downgrade(broker);
    broker.executors().peers.connect(node.clone());
    let first = broker.executors().node.set(node).is_ok();
    assert!(first, "the rim is connected once");
    let reaper = Arc::clone(disk).reap();
    data.spawn(async move {
        if let Err(error) = reaper.await {
            error!(%error, "completions of the ring cannot be waited for");
            std::process::abort();
        }
    });
}

impl Running {
    fn run(mut self) -> Exit {
        let main = match Builder::new_current_thread().enable_all().build() {
            Ok(main) => main,
            Err(error) => {
                error!(%error, "no runtime");
                return Exit::Failed;
            }
        };
        let exit = main.block_on(self.supervise());
        self.broker.executors().net.registry.close_all();
        self.data.shutdown_timeout(Duration::from_secs(1));
        self.peers.shutdown_background();
        exit
    }

    async fn supervise(&mut self) -> Exit {
        let (mut terminate, mut interrupt) = match signals() {
            Ok(signals) => signals,
            Err(error) => {
                error!(%error, "signals cannot be waited for");
                return Exit::Failed;
            }
        };
        tokio::spawn(tick(Arc::clone(&self.broker), self.clock));
        tokio::spawn(sweep(Arc::clone(&self.broker), Arc::clone(&self.metrics), self.clock));
        // Voters need each other before anybody is served.
        if let Err(error) = self.open(|kind| kind == ListenerKind::Controller) {
            error!(%error, "connections cannot be accepted");
            return Exit::Failed;
        }
        self.broker.submit(&mut vec![Input::Tick]);
        let mut patience = tokio::time::interval_at(tokio::time::Instant::now() + STILL_STARTING, STILL_STARTING);
        loop {
            tokio::select! {
                _ = patience.tick(), if !self.is_ready.load(Ordering::Acquire) => {
                    let awaited = self.broker.look(Node::awaited);
                    info!(after_ms = self.begun.elapsed().as_millis() as u64, "still starting: waits for {awaited}");
                }
                event = self.events.recv() => match event {
                    Some(Event::Serving) => if let Err(error) = self.accept() {
                        error!(%error, "connections cannot be accepted");
                        return Exit::Failed;
                    },
                    Some(Event::Failed { file, reason }) => return failed(&file, &reason),
                    Some(Event::Stopped) | None => return Exit::Done,
                },
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        tokio::select! {
            exit = self.stop() => exit,
            _ = terminate.recv() => twice(),
            _ = interrupt.recv() => twice(),
        }
    }

    /// The node serves: clients are let in.
    fn accept(&mut self) -> io::Result<()> {
        self.open(|kind| kind != ListenerKind::Controller)?;
        self.is_ready.store(true, Ordering::Release);
        info!(took_ms = self.begun.elapsed().as_millis() as u64, "serving");
        for end in self.settings.topology.client_endpoints() {
            println!("Kafka clients   {}:{}", end.host, end.port);
        }
        println!("HTTP            http://{}", self.settings.http);
        for (_, directory) in self.directories.log_dirs().iter() {
            match &directory.failed {
                None => println!("Data directory  {} ({})", directory.path, self.executor),
                Some(reason) => println!("Data directory  {} (offline: {reason})", directory.path),
            }
        }
        Ok(())
    }

    /// Accepts from the listeners of these kinds from now on. Those of controllers run where the peers do.
    fn open(&mut self, wanted: fn(ListenerKind) -> bool) -> io::Result<()> {
        let node: Arc<dyn Submit> = Arc::<Broker>::clone(&self.broker);
        for Bound { kind, name, socket } in self.listeners.extract_if(.., |bound| wanted(bound.kind)) {
            let runtime = if kind == ListenerKind::Controller { &self.peers } else { &self.data };
            let _runtime = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let net = Arc::clone(&self.broker.executors().net);
            runtime.spawn(net.listen(listener, (kind, name), Arc::clone(&node)));
        }
        Ok(())
    }

    /// Asks the node to close everything, and waits for it.
    async fn stop(&mut self) -> Exit {
        info!("stopping");
        self.is_ready.store(false, Ordering::Release);
        self.broker.submit(&mut vec![Input::Shutdown]);
        let stopped = async {
            loop {
                match self.events.recv().await {
                    Some(Event::Serving) => {}
                    Some(Event::Failed { file, reason }) => return failed(&file, &reason),
                    Some(Event::Stopped) | None => return Exit::Done,
                }
            }
        };
        tokio::time::timeout(STOP_MAX, stopped).await.unwrap_or_else(|_| {
            error!("the broker did not close its logs in time");
            Exit::StoppedUncleanly
        })
    }
}

fn failed(file: &strandline_log::disk::FilePath, reason: &strandline_log::disk::DiskError) -> Exit {
    error!(%file, %reason, "the log directory failed; the broker ends");
    Exit::DiskFailed
}

fn twice() -> Exit {
    warn!("asked to stop twice: ended at once");
    Exit::StoppedUncleanly
}

/// Wakes the node when it wants to be woken.
async fn tick(broker: Arc<Broker>, clock: Clock) {
    let alarm = Arc::clone(&broker.executors().alarm);
    loop {
        alarm.wait(&clock).await;
        broker.submit(&mut vec![Input::Tick]);
    }
}

/// Closes connections on which nothing happens, and gives back what nobody uses.
async fn sweep(broker: Arc<Broker>, metrics: Arc<Metrics>, clock: Clock) {
    let rim = broker.executors();
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let expired = rim.net.registry.sweep(clock.monotonic_ms(), rim.net.scarce());
        metrics.connections_expired.inc_by(expired as u64);
        rim.net.chunks.trim();
        rim.disk.trim();
    }
}

fn signals() -> io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

fn data_runtime(config: &BrokerConfig) -> io::Result<Runtime> {
    let given = config.given("request.threads").and_then(|threads| threads.parse().ok());
    let threads = given.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(DISK_THREADS_MAX)
        .thread_keep_alive(DISK_THREADS_KEPT)
        .thread_name("data")
        .enable_all()
        .build()
}

/// One thread that clients cannot keep busy.
fn peers_runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name("peers").enable_all().build()
}

/// The fastest one that works in all directories.
fn executor(directories: &DataDirectories, config: &BrokerConfig) -> Executor {
    let choice = config.text("log.io.executor").unwrap_or("auto").parse();
    match choice {
        Ok(Choice::Forced(executor)) => {
            info!(%executor, "disk executor, as configured");
            executor
        }
        _ => {
            let roots = directories.roots();
            let found = directories.working().into_iter().map(|log_dir| probe(roots.of(log_dir)));
            let found = found.max_by_key(|found| found.passed_over.len()).unwrap_or_else(|| probe(roots.of(LogDir::FIRST)));
            let passed_over: Vec<String> =
                found.passed_over.iter().map(|(executor, why)| format!("{executor}: {why}")).collect();
            info!(executor = %found.executor, ?passed_over, "disk executor, found by trying");
            found.executor
        }
    }
}

fn listen(settings: &Settings) -> Result<Vec<Bound>, StartError> {
    let backlog = u32::try_from(settings.config.number("socket.listen.backlog.size")).unwrap_or(u32::MAX);
    let bound = |(address, listener): (&SocketAddr, &Listener)| {
        let failed = |reason| StartError::Listen { address: *address, reason, option: "--listen" };
        let name = Arc::from(listener.advertised.listener.as_str());
        Ok(Bound { kind: listener.kind, name, socket: bind(*address, backlog).map_err(failed)? })
    };
    settings.listen.iter().zip(&settings.topology.listeners).map(bound).collect()
}

fn http_listener(settings: &Settings) -> Result<std::net::TcpListener, StartError> {
    /// Pages are asked for one at a time.
    const BACKLOG: u32 = 16;
    let address: SocketAddr = settings.http;
    bind(address, BACKLOG).map_err(|reason| StartError::Listen { address, reason, option: "--http" })
}

/// Takes as many descriptors as the system allows, and says how many of them segment files may have.
fn open_files_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Refused or not, what is allowed is asked for next.
    let _ = setrlimit(Resource::Nofile, wanted);
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(OPEN_FILES_MAX.min(allowed / 4)).unwrap_or(1).max(1)
}
